"""Cached files, each with its digest: a file that the disk has damaged is made again instead of being served."""

import logging
import shutil
from pathlib import Path

from shared.digest import sha256_of

logger = logging.getLogger(__name__)

_DIGEST = ".sha256"


def remove_if_damaged(folder: Path) -> None:
    """Remove the folder if a file in it is not as it was when `note_digests` saw it. Raises OSError."""
    for noted in folder.glob(f"*{_DIGEST}"):
        kept = noted.with_suffix("")
        if not kept.is_file() or sha256_of(kept) != noted.read_text():
            logger.warning(
                "a cached file is damaged and is made again", extra={"event": "cache_damaged", "file": kept.name}
            )
            shutil.rmtree(folder, ignore_errors=True)
            return


def note_digests(folder: Path) -> None:
    """Note the digests of the files that are new; where that fails, they are served all the same."""
    try:
        for kept in folder.iterdir():
            noted = kept.with_name(f"{kept.name}{_DIGEST}")
            if kept.suffix != _DIGEST and kept.is_file() and not noted.exists():
                noted.write_text(sha256_of(kept))
    except OSError as error:  # a full disk, or another process that removed them
        logger.warning(f"digests of cached files are not noted: {error}", extra={"event": "cache_not_noted"})
