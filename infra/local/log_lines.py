"""Follows the log files of child processes: every new JSON line, once."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


class LogFollower:
    """Reads what is appended to the files of some folders. What stood there before is left out."""

    def __init__(self, *patterns: Path) -> None:
        """`patterns` are paths whose last part may hold wildcards: `Path("logs/*.log")`."""
        self._patterns = patterns
        self._offsets: dict[Path, int] = {}
        for path in self._paths():
            with suppress(OSError):
                self._offsets[path] = path.stat().st_size

    def new_lines(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Complete JSON objects that were written since the last call; other lines stay in their file.

        A file that did not grow is not opened; one that was removed or cut, or that nobody lets us read, ends nothing.
        """
        paths = self._paths()
        self._offsets = {path: self._offsets.get(path, 0) for path in paths}
        for path in paths:
            try:
                whole = self._appended(path)
            except OSError:  # removed at this moment, or of another user who shares the folder
                continue
            for text in whole.splitlines():
                line = _json_object(text)
                if line is not None:
                    yield path, line

    def _appended(self, path: Path) -> bytes:
        size, offset = path.stat().st_size, self._offsets[path]
        if size == offset:
            return b""
        if size < offset:  # cut, or removed and made anew
            offset = 0
        with path.open("rb") as file:
            file.seek(offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self._offsets[path] = offset + len(whole) + len(end)
        return whole

    def _paths(self) -> list[Path]:
        return [path for pattern in self._patterns for path in sorted(pattern.parent.glob(pattern.name))]


def _json_object(text: bytes) -> dict[str, Any] | None:
    if not text.startswith(b"{"):
        return None
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
