"""Images inside a task's data (`data:image/…`), of which a snapshot stores only the digest.

The export keeps them in the image cache. An attempt on another machine asks Label Studio for the task again.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from jobs.train.data.addresses import digest_of, reference
from jobs.train.data.image_cache import ImageCache, Kept, Source
from shared.errors import ImageError, LabelStudioError, Unauthorized
from shared.media.fetch import Fetched, Version

_FIXED = Version(fixed=True)


class Tasks(Protocol):
    """Label Studio's API."""

    def get_json(self, path: str) -> Any:
        """The JSON that `path` answers. Raises LabelStudioError."""


class InlineImages:
    """A Source that also finds images by the digest that `reference` made."""

    def __init__(self, source: Source, label_studio: Tasks) -> None:
        self._source = source
        self._label_studio = label_studio

    def fetch_newer(self, value: object, *, task_id: int | None, deadline: float, known: Version | None) -> Fetched:
        """See Source.fetch_newer."""
        if digest_of(value) is None:
            return self._source.fetch_newer(value, task_id=task_id, deadline=deadline, known=known)
        try:
            task = self._label_studio.get_json(f"/api/tasks/{task_id}")
        except Unauthorized as error:
            raise ImageError("unauthorized", str(error)) from error
        except LabelStudioError as error:
            raise ImageError("unreachable", str(error)) from error
        for text in _texts(task.get("data") if isinstance(task, dict) else None):
            if reference(text) == value:
                fetched = self._source.fetch_newer(text, task_id=task_id, deadline=deadline, known=None)
                return Fetched(fetched.data, _FIXED)
        raise ImageError("not_found", f"task {task_id} holds another image than when the run began")


class Adopter:
    """Puts the images inside tasks into the image cache during the export."""

    def __init__(self, source: Source, images: ImageCache) -> None:
        self._source = source
        self._images = images

    def __call__(self, value: str) -> str:
        """`reference(value)`; caches the image of a `data:` value. A broken image is found later, when it is read."""
        short = reference(value)
        if short != value:
            with suppress(ImageError):
                data = self._source.fetch_newer(value, task_id=None, deadline=time.monotonic(), known=None).data
                self._images.keep(self._images.key(short), Kept(_FIXED, data or b""))
        return short


def _texts(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
