"""The body of `POST /predict`, read as a stream: of each task only what `Task` reads is kept.

Label Studio also sends the annotations and the predictions of all versions: with masks, megabytes a task that are not
needed. The kept text is as it was sent; a task is parsed when it is its turn.
"""

from array import array
from collections.abc import Iterable

from shared.labelstudio.json_reader import JsonReader, elements, members, too_large

_TASKS = b'"tasks"'
_NO_TASKS = b'"tasks":[]'
_WANTED = (b'"id"', b'"data"', b'"is_labeled"')
_OF_THE_FIRST = (*_WANTED, b'"drafts"')  # a smart tool asks for one task, and its draft has what is drawn already
MAX_KEPT = 100_000_000
"""Limit of the bytes that are kept of a request's tasks: their data may hold whole images."""
MAX_PREDICT_BODY = 1_000_000_000
"""Limit of the bytes of a whole request."""


class PredictBody:
    """The kept parts of one body. `rest` is its JSON with an empty list of tasks."""

    def __init__(self, chunks: Iterable[bytes], *, max_bytes: int = MAX_KEPT) -> None:
        """Reads `chunks` to their end.

        Raises BadRequest, BodyTooLarge (over `max_bytes` of tasks, or of the rest), and what `chunks` raises.
        """
        self.rest = b""
        self._text = bytearray()  # the tasks as JSON, with commas between them
        self._ends = array("Q")  # where each task ends in the text
        self._max_bytes = max_bytes
        self._read(JsonReader(chunks))

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self._ends)

    def task(self, index: int) -> bytes:
        """The JSON of one task, with what is kept of it; an element that is not an object is as it was sent."""
        return bytes(self._text[self._ends[index - 1] + 1 if index else 0 : self._ends[index]])

    def whole(self) -> bytes:
        """The JSON of the body, with what is kept of each task."""
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
                parts = [_NO_TASKS, *(part for part in parts if part != _NO_TASKS)]  # first: `whole` replaces the first
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
                    if key not in (_WANTED if self._ends else _OF_THE_FIRST):
                        reader.value(None)
                        continue
                    self._text += (b"{" if first else b",") + key + b":"
                    first = False
                    reader.value(self._text, self._max_bytes)
                self._text += b"{}" if first else b"}"
            else:
                reader.value(self._text, self._max_bytes)
            self._ends.append(len(self._text))
            if len(self._text) > self._max_bytes:
                raise too_large(self._max_bytes)

    def _value(self, reader: JsonReader) -> bytes:
        text = bytearray()
        reader.value(text, self._max_bytes)
        return bytes(text)
