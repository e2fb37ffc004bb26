"""A streaming JSON reader: values that are not needed are skipped and never kept, however large or deep they are.

`json.loads` would build all values, and block the other threads of the process meanwhile. Of skipped values only the
brackets and quotes are checked.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from shared.errors import BadRequest, BodyTooLarge

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = re.compile(rb'(?:[^"\[\]{}]++|%s)++' % _TEXT, re.DOTALL)
"""Numbers, strings and what stands between them, up to the next bracket."""
_LEAVES = re.compile(rb'(?:[\[{](?:[^"\[\]{}]++|%s)*+[\]}][^"\[\]{}]*+)++' % _TEXT, re.DOTALL)
"""Adjacent lists and objects that contain no others: all points of a polygon in one match."""
_STRING = re.compile(rb'["\\]')
_SPACE = re.compile(rb"[^ \t\r\n]")
_END = re.compile(rb"[ \t\r\n,\]}]")
_MAX_KEY = 10_000  # bytes
_CHUNK = 1 << 20  # bytes


def only_members(body: bytes, wanted: Collection[bytes]) -> bytes:
    """The JSON object with only the members named in `wanted` (names with quotes). Any other JSON is returned as it is.

    Raises BadRequest if the body is malformed.
    """
    reader = JsonReader(body[first : first + _CHUNK] for first in range(0, len(body), _CHUNK))
    if reader.peek() != b"{":
        return body
    kept = []
    for key in members(reader):
        text = bytearray() if key in wanted else None
        reader.value(text, len(body))
        if text is not None:
            kept.append(key + b":" + text)
    reader.finish()
    return b"{" + b",".join(kept) + b"}"


class JsonReader:
    """Reads a JSON document from chunks of bytes; only the current chunk is in memory."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._text = b""
        self._at = 0

    def peek(self) -> bytes:
        """The next byte that is not white space, without consuming it; b"" at the end."""
        while (found := _SPACE.search(self._text, self._at)) is None:
            self._at = len(self._text)
            if not self._more():
                return b""
        self._at = found.start()
        return self._text[self._at : self._at + 1]

    def expect(self, wanted: bytes) -> None:
        """Consume the byte `wanted`. Raises BadRequest if the next byte is another one."""
        if self.peek() != wanted:
            raise _malformed(f"{wanted.decode()} is missing")
        self._at += 1

    def finish(self) -> None:
        """Raises BadRequest if anything follows."""
        if self.peek():
            raise _malformed("something follows its end")

    def key(self) -> bytes:
        """The next string, with its quotes, without unnecessary escapes. Raises BadRequest."""
        text = bytearray()
        if self.peek() != b'"':
            raise _malformed("a name is missing")
        self.value(text, _MAX_KEY)
        if b"\\" not in text:
            return bytes(text)
        try:
            return json.dumps(json.loads(text)).encode()
        except ValueError as error:
            raise _malformed("a name is not a string") from error

    def value(self, into: bytearray | None, max_bytes: int = 0) -> None:
        """Read one value, and append its text to `into` (None: skip it).

        Raises BadRequest, and BodyTooLarge if `into` would grow beyond `max_bytes`.
        """
        first = self.peek()
        if first in (b"[", b"{"):
            self._nested(into, max_bytes)
        elif first == b'"':
            self._at += 1
            _keep(first, into, max_bytes)
            self._string(into, max_bytes)
        elif first in (b"", b",", b":", b"]", b"}"):
            raise _malformed("a value is missing" if first else "it ends too early")
        else:
            self._pass(_END, into, max_bytes, at_end="is the end")

    def _nested(self, into: bytearray | None, max_bytes: int) -> None:
        """Read a list or object in runs of flat JSON: bracket by bracket, a large body would take Python a minute."""
        self._at, begin, depth = self._at + 1, self._at, 1
        while depth:
            if found := _FLAT.match(self._text, self._at):
                self._at = found.end()
            byte = self._text[self._at : self._at + 1]
            if byte in (b"", b'"'):  # the end of the chunk, or a string that goes on in the next one
                _keep(self._text[begin : self._at + 1], into, max_bytes)
                self._at += len(byte)
                if byte:
                    self._string(into, max_bytes)
                elif not self._more():
                    raise _malformed("it ends too early")
                begin = self._at
            elif byte in b"]}":
                depth, self._at = depth - 1, self._at + 1
            elif found := _LEAVES.match(self._text, self._at):
                self._at = found.end()
            else:
                depth, self._at = depth + 1, self._at + 1
        _keep(self._text[begin : self._at], into, max_bytes)

    def _string(self, into: bytearray | None, max_bytes: int) -> None:
        while True:
            byte = self._pass(_STRING, into, max_bytes)
            if byte == b'"':
                self._at += 1
                _keep(byte, into, max_bytes)
                return
            while len(self._text) < self._at + 2:
                if not self._more():
                    raise _malformed("it ends too early")
            _keep(self._text[self._at : self._at + 2], into, max_bytes)
            self._at += 2

    def _pass(
        self,
        wanted: "re.Pattern[bytes]",
        into: bytearray | None,
        max_bytes: int,
        at_end: Literal["is the end", "is wrong"] = "is wrong",
    ) -> bytes:
        """Read up to the next match of `wanted`, and return the match."""
        while (found := wanted.search(self._text, self._at)) is None:
            _keep(self._text[self._at :], into, max_bytes)
            self._at = len(self._text)
            if not self._more():
                if at_end == "is the end":
                    return b""
                raise _malformed("it ends too early")
        _keep(self._text[self._at : found.start()], into, max_bytes)
        self._at = found.start()
        return found[0]

    def _more(self) -> bool:
        chunk = next(self._chunks, b"")
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)


def members(reader: JsonReader) -> Iterator[bytes]:
    """The keys of an object. The caller must read the value of a key before it asks for the next one."""
    reader.expect(b"{")
    if reader.peek() != b"}":
        while True:
            key = reader.key()
            reader.expect(b":")
            yield key
            if reader.peek() != b",":
                break
            reader.expect(b",")
    reader.expect(b"}")


def elements(reader: JsonReader) -> Iterator[None]:
    """Yields once for each element of a list. The caller must read the element before it asks for the next one."""
    reader.expect(b"[")
    if reader.peek() != b"]":
        while True:
            yield None
            if reader.peek() != b",":
                break
            reader.expect(b",")
    reader.expect(b"]")


def _keep(text: bytes, into: bytearray | None, max_bytes: int) -> None:
    if into is not None:
        into += text
        if len(into) > max_bytes:
            raise too_large(max_bytes)


def too_large(max_bytes: int) -> BodyTooLarge:
    megabytes = f"{max_bytes / 1e6:.0f} MB"
    return BodyTooLarge(f"the data of a request's tasks is more than {megabytes}: select fewer tasks at a time")


def _malformed(what: str) -> BadRequest:
    return BadRequest(f"the request is not one of Label Studio: body: Invalid JSON: {what}")
