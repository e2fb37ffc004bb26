"""A small disk that can be full: a tmpfs of its own below the world's folder, where this user may mount one."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SIZE = 1 << 30  # bytes
_BLOCK = b"\0" * (4 << 20)


@dataclass(frozen=True, slots=True)
class Disk:
    """Where programs keep scratch and cache."""

    folder: Path
    own: bool  # a disk of its own: only that may be filled

    def fill(self) -> Callable[[], None]:
        """Not a byte is left; the answer makes room again."""
        filler = self.folder / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(_BLOCK):
                pass
        return lambda: filler.unlink(missing_ok=True)


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """Mount it, if root may do so here; otherwise a plain folder."""
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder))
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            _run("umount", "--lazy", str(folder))


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
