"""Files that are written under a name of their own and renamed when they are whole."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def temporary_file(folder: Path, prefix: str = "") -> Iterator[BinaryIO]:
    """A new file in the folder, readable as the umask says, removed at the end if it still has its name."""
    path = folder / f"{prefix}{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)
