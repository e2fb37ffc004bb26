"""The body of `POST /predict`, read as it comes: of each task `id` and `data`, and nothing of what comes along.

Label Studio sends annotations and the predictions of all versions with the tasks: with masks that is megabytes a task,
which nobody needs. What is kept is the text as it was sent; a task is read when its turn comes.
"""

import json
import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Literal

from shared.errors import BadRequest, BodyTooLarge

_STRUCTURE = re.compile(rb'["\[\]{}]')
_STRING = re.compile(rb'["\\]')
_SPACE = re.compile(rb"[^ \t\r\n]")
_END = re.compile(rb"[ \t\r\n,\]}]")
_TASKS = b'"tasks"'
_NO_TASKS = b'"tasks":[]'
_WANTED = (b'"id"', b'"data"')
_LONGEST_KEY = 10_000  # bytes
MOST_KEPT = 100_000_000
"""Bytes of a request's tasks: their data may hold whole images."""
LARGEST = 1_000_000_000
"""Bytes of a request, with what comes along."""


class PredictBody:
    """What is kept of one body. `rest` is its JSON with an empty list of tasks."""

    def __init__(self, chunks: Iterable[bytes], *, most: int = MOST_KEPT) -> None:
        """Reads `chunks` to their end; keeps at most `most` bytes of the tasks, and of the rest.

        Raises BadRequest, BodyTooLarge and what `chunks` raise.
        """
        self.rest = b""
        self._text = bytearray()  # the tasks, with commas between them
        self._ends = array("Q")  # of each task, in the text
        self._most = most
        self._read(_Reader(chunks))

    def __len__(self) -> int:
        """How many tasks there are."""
        return len(self._ends)

    def task(self, index: int) -> bytes:
        """The JSON of one task; something else than an object is as it was sent."""
        return bytes(self._text[self._ends[index - 1] + 1 if index else 0 : self._ends[index]])

    def whole(self) -> bytes:
        """The body without what came along."""
        return self.rest.replace(_NO_TASKS, b'"tasks":[' + self._text + b"]", 1)

    def _read(self, reader: "_Reader") -> None:
        if reader.peek() != b"{":
            self.rest = self._value(reader)
            reader.finish()
            return
        parts: list[bytes] = []
        for key in _members(reader):
            if key == _TASKS and reader.peek() == b"[":
                self._read_tasks(reader)
                parts = [_NO_TASKS, *(part for part in parts if part != _NO_TASKS)]  # before what may look like it
            else:
                parts.append(key + b":" + self._value(reader))
        reader.finish()
        self.rest = b"{" + b",".join(parts) + b"}"

    def _read_tasks(self, reader: "_Reader") -> None:
        self._text, self._ends = bytearray(), array("Q")
        for _ in _elements(reader):
            if self._ends:
                self._text += b","
            if reader.peek() == b"{":
                first = True
                for key in _members(reader):
                    if key not in _WANTED:
                        reader.value(None)
                        continue
                    self._text += (b"{" if first else b",") + key + b":"
                    first = False
                    reader.value(self._text, self._most)
                self._text += b"{}" if first else b"}"
            else:
                reader.value(self._text, self._most)
            self._ends.append(len(self._text))
            if len(self._text) > self._most:
                raise _too_large(self._most)

    def _value(self, reader: "_Reader") -> bytes:
        text = bytearray()
        reader.value(text, self._most)
        return bytes(text)


class _Reader:
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
        depth = 0
        while True:
            byte = self._pass(_STRUCTURE, into, most)
            self._at += 1
            _keep(byte, into, most)
            if byte == b'"':
                self._string(into, most)
            else:
                depth += 1 if byte in b"[{" else -1
                if depth == 0:
                    return

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


def _members(reader: _Reader) -> Iterator[bytes]:
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


def _elements(reader: _Reader) -> Iterator[None]:
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
            raise _too_large(most)


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the data of a request's tasks is more than {most / 1e6:.0f} MB: select fewer tasks at a time")


def _malformed(what: str) -> BadRequest:
    return BadRequest(f"the request is not a PredictRequest of Label Studio: body: Invalid JSON: {what}")
