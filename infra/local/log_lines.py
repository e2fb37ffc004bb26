"""Follows the log files of child processes: every new JSON line, once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class LogFollower:
    """Reads what is appended to the files of some folders. What stood there before is left out."""

    def __init__(self, *patterns: Path) -> None:
        """`patterns` are paths whose last part may hold wildcards: `Path("logs/*.log")`."""
        self._patterns = patterns
        self._offsets = {path: path.stat().st_size for path in self._paths()}

    def new_lines(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Complete JSON objects that were written since the last call; other lines stay in their file."""
        for path in self._paths():
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                whole, _, _ = file.read().rpartition(b"\n")
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + (1 if whole else 0)
            for text in whole.splitlines():
                line = _json_object(text)
                if line is not None:
                    yield path, line

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
