"""Temporary files that are renamed once they are complete."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def temporary_file(folder: Path, prefix: str = "") -> Iterator[BinaryIO]:
    """A new file in the folder, with the umask's permissions; removed at the end unless it was renamed."""
    path = folder / f"{prefix}{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)
