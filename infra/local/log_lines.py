"""Reads new JSON lines from the log files of child processes."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


class LogFollower:
    """Reads lines that are appended to files after it was made."""

    def __init__(self, *patterns: Path) -> None:
        """`patterns`: paths whose last part may have wildcards, `Path("logs/*.log")`."""
        self._patterns = patterns
        self._offsets: dict[Path, int] = {}
        for path in self._paths():
            with suppress(OSError):
                self._offsets[path] = path.stat().st_size

    def new_lines(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """(file, JSON object) for each complete line since the last call; lines that are no JSON objects are skipped.

        Files that were removed or cannot be read are skipped; one that was truncated is read from its beginning.
        """
        paths = self._paths()
        self._offsets = {path: self._offsets.get(path, 0) for path in paths}
        for path in paths:
            try:
                whole = self._appended(path)
            except OSError:  # removed just now, or owned by another user
                continue
            for text in whole.splitlines():
                line = _json_object(text)
                if line is not None:
                    yield path, line

    def _appended(self, path: Path) -> bytes:
        size, offset = path.stat().st_size, self._offsets[path]
        if size == offset:
            return b""
        if size < offset:  # truncated, or replaced
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
