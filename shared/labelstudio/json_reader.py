"""JSON that is read as it comes: what nobody needs is stepped over and never kept, however large or deep it is.

A reader of whole documents makes values of all of it, and no other thread of the process works meanwhile. What is
stepped over is not checked but for its brackets and quotes.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from shared.errors import BadRequest, BodyTooLarge

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = re.compile(rb'(?:[^"\[\]{}]++|%s)++' % _TEXT, re.DOTALL)
"""Numbers, texts and what stands between them, up to the next bracket."""
_LEAVES = re.compile(rb'(?:[\[{](?:[^"\[\]{}]++|%s)*+[\]}][^"\[\]{}]*+)++' % _TEXT, re.DOTALL)
"""Lists and objects side by side in which there is no other: all points of a polygon in one go."""
_STRING = re.compile(rb'["\\]')
_SPACE = re.compile(rb"[^ \t\r\n]")
_END = re.compile(rb"[ \t\r\n,\]}]")
_LONGEST_KEY = 10_000  # bytes
_CHUNK = 1 << 20  # bytes


def only_members(body: bytes, wanted: Collection[bytes]) -> bytes:
    """The JSON of an object with these members alone (their names in quotes); of anything else the body itself.

    Raises BadRequest.
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
    """The text of a JSON document, of which only what is being looked at is in memory."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._text = b""
        self._at = 0

    def peek(self) -> bytes:
        """The next byte that is no white space; none at the end."""
        while (found := _SPACE.search(self._text, self._at)) is None:
            self._at = len(self._text)
            if not self._more():
                return b""
        self._at = found.start()
        return self._text[self._at : self._at + 1]

    def expect(self, wanted: bytes) -> None:
        """Step over this byte. Raises BadRequest if there is another one."""
        if self.peek() != wanted:
            raise _malformed(f"{wanted.decode()} is missing")
        self._at += 1

    def finish(self) -> None:
        """Nothing may follow."""
        if self.peek():
            raise _malformed("something follows its end")

    def key(self) -> bytes:
        """The next string, with its quotes, and without escapes that are not needed."""
        text = bytearray()
        if self.peek() != b'"':
            raise _malformed("a name is missing")
        self.value(text, _LONGEST_KEY)
        if b"\\" not in text:
            return bytes(text)
        try:
            return json.dumps(json.loads(text)).encode()
        except ValueError as error:
            raise _malformed("a name is no text") from error

    def value(self, into: bytearray | None, most: int = 0) -> None:
        """Step over one value, and keep its text in `into`, which may hold `most` bytes. Raises BadRequest."""
        first = self.peek()
        if first in (b"[", b"{"):
            self._nested(into, most)
        elif first == b'"':
            self._at += 1
            _keep(first, into, most)
            self._string(into, most)
        elif first in (b"", b",", b":", b"]", b"}"):
            raise _malformed("a value is missing" if first else "it ends too early")
        else:
            self._pass(_END, into, most, at_end="is the end")

    def _nested(self, into: bytearray | None, most: int) -> None:
        """By runs of what is flat: one bracket after the other would take Python a minute for a large body."""
        self._at, begin, depth = self._at + 1, self._at, 1
        while depth:
            if found := _FLAT.match(self._text, self._at):
                self._at = found.end()
            byte = self._text[self._at : self._at + 1]
            if byte in (b"", b'"'):  # the end of the chunk, or a text that goes on behind it
                _keep(self._text[begin : self._at + 1], into, most)
                self._at += len(byte)
                if byte:
                    self._string(into, most)
                elif not self._more():
                    raise _malformed("it ends too early")
                begin = self._at
            elif byte in b"]}":
                depth, self._at = depth - 1, self._at + 1
            elif found := _LEAVES.match(self._text, self._at):
                self._at = found.end()
            else:
                depth, self._at = depth + 1, self._at + 1
        _keep(self._text[begin : self._at], into, most)

    def _string(self, into: bytearray | None, most: int) -> None:
        while True:
            byte = self._pass(_STRING, into, most)
            if byte == b'"':
                self._at += 1
                _keep(byte, into, most)
                return
            while len(self._text) < self._at + 2:
                if not self._more():
                    raise _malformed("it ends too early")
            _keep(self._text[self._at : self._at + 2], into, most)
            self._at += 2

    def _pass(
        self,
        wanted: "re.Pattern[bytes]",
        into: bytearray | None,
        most: int,
        at_end: Literal["is the end", "is wrong"] = "is wrong",
    ) -> bytes:
        """Step to the next byte of that kind, and answer it."""
        while (found := wanted.search(self._text, self._at)) is None:
            _keep(self._text[self._at :], into, most)
            self._at = len(self._text)
            if not self._more():
                if at_end == "is the end":
                    return b""
                raise _malformed("it ends too early")
        _keep(self._text[self._at : found.start()], into, most)
        self._at = found.start()
        return found[0]

    def _more(self) -> bool:
        chunk = next(self._chunks, b"")
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)


def members(reader: JsonReader) -> Iterator[bytes]:
    """The keys of an object; whoever is told one steps over its value."""
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
    """Once for each element of a list, which whoever is told steps over."""
    reader.expect(b"[")
    if reader.peek() != b"]":
        while True:
            yield None
            if reader.peek() != b",":
                break
            reader.expect(b",")
    reader.expect(b"]")


def _keep(text: bytes, into: bytearray | None, most: int) -> None:
    if into is not None:
        into += text
        if len(into) > most:
            raise too_large(most)


def too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the data of a request's tasks is more than {most / 1e6:.0f} MB: select fewer tasks at a time")


def _malformed(what: str) -> BadRequest:
    return BadRequest(f"the request is not one of Label Studio: body: Invalid JSON: {what}")
