"""The folder that a person names for what a command writes: only whole things stand in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.errors import LabelloopError


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """A folder within `folder` that is removed afterwards. Raises LabelloopError if `folder` is in use, or unusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if there := next(folder.iterdir(), None):
            raise LabelloopError(f"--to {folder} holds {there.name}: name a folder that is empty, or not there yet")
        with TemporaryDirectory(dir=folder, prefix=".unfinished-") as work:
            yield Path(work)
    except OSError as error:
        raise LabelloopError(f"--to {folder} cannot be written to: {error.strerror}") from error
