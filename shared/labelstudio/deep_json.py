"""JSON of any depth: Label Studio takes tasks that are nested deeper than readers of JSON go, which are recursive."""

import json
import re
from collections.abc import Iterator
from typing import Any

_DEEPEST = 200
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def readable_json(body: bytes) -> Any:
    """Read JSON; what lies deeper than 200 levels is null. Raises ValueError."""
    return json.loads("".join(_shallow(body.decode())))


def _shallow(text: str) -> Iterator[str]:
    """The parts of the text that are kept, in order."""
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            if depth == _DEEPEST:
                yield text[begin : token.start()]
                yield "null"
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
            if depth == _DEEPEST:
                begin = token.end()
    if depth <= _DEEPEST:
        yield text[begin:]
