"""Imports of large libraries that can be retried: what a failed import leaves behind makes every later one fail."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undo_failed_import(*packages: str, keep: str | None = None) -> Iterator[None]:
    """If an import inside the `with` block fails (no memory), remove what it added to `sys.modules` of these packages.

    `keep`: a module that cannot be imported twice; once it is imported, nothing is removed.
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
            sys.__dict__.pop("OpenCV_LOADER", None)  # OpenCV's mark that its import has begun
        raise
