"""The response of `/predict` as JSON, encoded in small pieces: json.dumps blocks all other threads of the process."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

_AT_ONCE = 20_000
"""Values that are encoded at a time, in about two milliseconds: one brush mask may have hundreds of thousands."""
_PIECE = 1 << 16  # characters


def answer_text(items: Iterable[Any]) -> Iterator[bytes]:
    """Pieces of `{"results": [item, …]}` as UTF-8. Items are consumed one by one, and dropped once they are encoded."""
    waiting, length = ['{"results": ['], 0
    separator = ""
    for item in items:
        for text in encoded(item) if item else ("[]",):
            waiting += (separator, text)
            separator = ""
            length += len(text)
            if length >= _PIECE:
                yield "".join(waiting).encode()
                waiting, length = [], 0
        separator = ", "
    yield "".join([*waiting, "]}"]).encode()


def encoded(value: Any) -> Iterator[str]:
    """Parts of the JSON text of one value, each of at most `_AT_ONCE` inner values."""
    if _size(value) <= _AT_ONCE:
        yield json.dumps(value)
    elif isinstance(value, dict):
        yield from _joined("{", "}", ((f"{json.dumps(key)}: ", inner) for key, inner in value.items()))
    elif _is_flat(value):
        for first in range(0, len(value), _AT_ONCE):
            yield ("[" if first == 0 else ", ") + json.dumps(value[first : first + _AT_ONCE])[1:-1]
        yield "]"
    else:
        yield from _joined("[", "]", (("", inner) for inner in value))


def _joined(begin: str, end: str, parts: Iterable[tuple[str, Any]]) -> Iterator[str]:
    for before, inner in parts:
        yield begin + before
        yield from encoded(inner)
        begin = ", "
    yield end


def _size(value: Any) -> int:
    """Number of inner values. The items of a list are taken to be of one kind."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list):
        return len(value) if _is_flat(value) else sum(map(_size, value))
    return 1


def _is_flat(value: list[Any]) -> bool:
    return not value or not isinstance(value[0], (dict, list))
