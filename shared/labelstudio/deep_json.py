"""JSON of any depth: Label Studio accepts tasks that are nested deeper than a recursive JSON parser can read."""

import json
import re
from collections.abc import Iterator
from typing import Any

_MAX_DEPTH = 200
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A string, also one that does not end: to look for its end from each quote in it would take a minute for 100 kB."""


def parse_deep_json(body: bytes) -> Any:
    """Parse JSON; values deeper than 200 levels become null. Raises ValueError."""
    return json.loads("".join(_shallow(body.decode())))


def _shallow(text: str) -> Iterator[str]:
    """The text in parts, with null in place of what is too deep."""
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            if depth == _MAX_DEPTH:
                yield text[begin : token.start()]
                yield "null"
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
            if depth == _MAX_DEPTH:
                begin = token.end()
    if depth <= _MAX_DEPTH:
        yield text[begin:]
