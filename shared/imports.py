"""Imports of large libraries that can be tried again: one that fails by half leaves what makes every later one fail."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def whole_or_not(*packages: str, keep: str | None = None) -> Iterator[None]:
    """Where an import in it fails (memory is short), forget what these packages left behind, unless `keep` is there.

    `keep`: a module that cannot be imported twice.
    """
    before, path = set(sys.modules), list(sys.path)
    try:
        yield
    except BaseException:
        if keep not in sys.modules:
            for name in set(sys.modules) - before:
                if name.partition(".")[0] in packages:
                    sys.modules.pop(name, None)
            sys.path[:] = path
            sys.__dict__.pop("OpenCV_LOADER", None)  # by which OpenCV tells that it is being imported already
        raise
