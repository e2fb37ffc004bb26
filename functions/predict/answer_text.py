"""The answer to `/predict` as JSON, piece by piece: while the encoder works, no other thread of the process does."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

_AT_ONCE = 20_000
"""Values that are encoded in one go, a millisecond or two: a brush mask alone may have hundreds of thousands."""
_PIECE = 1 << 16  # characters


def answer_text(items: Iterable[Any]) -> Iterator[bytes]:
    """Pieces of `{"results": [item, …]}`, while the items come: none is needed once its text is there."""
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
    """Parts of the JSON of one value; of each the encoder sees a part of the value that is not large."""
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
    """How many values there are in it. Lists are of one kind."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list):
        return len(value) if _is_flat(value) else sum(map(_size, value))
    return 1


def _is_flat(value: list[Any]) -> bool:
    return not value or not isinstance(value[0], (dict, list))
