"""The body of `POST /predict`, read as it comes: of each task `id` and `data`, and nothing of what comes along.

Label Studio sends annotations and the predictions of all versions with the tasks: with masks that is megabytes a task,
which nobody needs. What is kept is the text as it was sent; a task is read when its turn comes.
"""

from array import array
from collections.abc import Iterable

from shared.labelstudio.json_reader import JsonReader, elements, members, too_large

_TASKS = b'"tasks"'
_NO_TASKS = b'"tasks":[]'
_WANTED = (b'"id"', b'"data"')
MAX_KEPT = 100_000_000
"""Bytes of a request's tasks: their data may hold whole images."""
LARGEST = 1_000_000_000
"""Bytes of a request, with what comes along."""


class PredictBody:
    """What is kept of one body. `rest` is its JSON with an empty list of tasks."""

    def __init__(self, chunks: Iterable[bytes], *, most: int = MAX_KEPT) -> None:
        """Reads `chunks` to their end; keeps at most `most` bytes of the tasks, and of the rest.

        Raises BadRequest, BodyTooLarge and what `chunks` raise.
        """
        self.rest = b""
        self._text = bytearray()  # the tasks, with commas between them
        self._ends = array("Q")  # of each task, in the text
        self._most = most
        self._read(JsonReader(chunks))

    def __len__(self) -> int:
        """How many tasks there are."""
        return len(self._ends)

    def task(self, index: int) -> bytes:
        """The JSON of one task; something else than an object is as it was sent."""
        return bytes(self._text[self._ends[index - 1] + 1 if index else 0 : self._ends[index]])

    def whole(self) -> bytes:
        """The body without what came along."""
        return self.rest.replace(_NO_TASKS, b'"tasks":[' + self._text + b"]", 1)

    def _read(self, reader: JsonReader) -> None:
        if reader.peek() != b"{":
            self.rest = self._value(reader)
            reader.finish()
            return
        parts: list[bytes] = []
        for key in members(reader):
            if key == _TASKS and reader.peek() == b"[":
                self._read_tasks(reader)
                parts = [_NO_TASKS, *(part for part in parts if part != _NO_TASKS)]  # before what may look like it
            else:
                parts.append(key + b":" + self._value(reader))
        reader.finish()
        self.rest = b"{" + b",".join(parts) + b"}"

    def _read_tasks(self, reader: JsonReader) -> None:
        self._text, self._ends = bytearray(), array("Q")
        for _ in elements(reader):
            if self._ends:
                self._text += b","
            if reader.peek() == b"{":
                first = True
                for key in members(reader):
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
                raise too_large(self._most)

    def _value(self, reader: JsonReader) -> bytes:
        text = bytearray()
        reader.value(text, self._most)
        return bytes(text)
