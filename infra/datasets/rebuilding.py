"""Builds the dataset of a version again: from what lies beside its weights, and images with the same bytes."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.train.data import dataset as datasets
from jobs.train.data.dataset import Counts, Dataset
from jobs.train.data.fetching import Fetching
from jobs.train.data.files import ImageFiles
from jobs.train.data.image_cache import ImageCache
from jobs.train.data.learnt import Learnt
from jobs.train.data.outage import ImagesMissing
from jobs.train.data.samples import PLAIN, Views
from jobs.train.data.yolo_dataset import MakeFiles, files_for
from jobs.train.training import TrainingSettings
from shared.errors import ImageError, LabelloopError
from shared.settings import Settings
from shared.state.versions import Manifest

_NAMED = 10  # missing tasks that a sentence names


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The dataset of a version, on disk."""

    dataset: Dataset
    images: ImageFiles
    differs: str  # a sentence about what this labelloop makes otherwise of the same data; empty: nothing

    @property
    def missing(self) -> Mapping[int, str]:
        """Id of a task that the version learnt from and that is not in it → why: a word of ImageError."""
        return self.dataset.counts.reasons

    @property
    def first_missing(self) -> list[tuple[int, str]]:
        """(id, sentence) of the first of them."""
        return self.dataset.counts.named


class SameBytes:
    """A Fetcher of images and videos that are exactly those that a version learnt from. Thread-safe."""

    def __init__(self, cache: ImageCache, digests: Mapping[int, str]) -> None:
        """`digests`: id of a task → SHA-256 of its image or video."""
        self._cache = cache
        self._digests = digests

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """What is kept, if that is the same; else what its source has now, if it is. See also Fetcher.fetch."""
        wanted = self._digests.get(task_id or 0, "")
        for data in self._cache.held(value) if isinstance(value, str) else ():
            if hashlib.sha256(data).hexdigest() == wanted:
                return data
        data = self._cache.fetch(value, task_id=task_id, deadline=deadline)
        if (found := hashlib.sha256(data).hexdigest()) != wanted:
            raise ImageError(
                "changed", f"{value} has SHA-256 {found} now, the version learnt from {wanted or 'another'}"
            )
        return data


def rebuild(
    learnt: Learnt,
    manifest: Manifest,
    fetching: Fetching,
    settings: Settings,
    folder: Path,
    *,
    make_files: MakeFiles = files_for,
    views: Views = PLAIN,
    tell: Callable[[str], None],
) -> Rebuilt:
    """Write the files of a version's dataset to `folder`/dataset, with what they are made of beside it.

    A task whose image has changed, or cannot be fetched, is left out. `views`: what is made of each picture. `tell`
    hears of the progress. Raises
    ImagesOutage if many cannot be fetched now, LabelloopError if most of them are gone for good.
    """
    digests = {task.id: task.sha256 for task in learnt.tasks() if not task.left_out}
    trained = TrainingSettings.of(settings_of(manifest), settings)
    images = ImageFiles(
        SameBytes(fetching.images, digests),
        folder / "pictures",
        max_pixels=settings.image_max_pixels,
        image_size=trained.image_size,
        reduced_decoding=trained.reduced_decoding,
        videos=SameBytes(fetching.videos, digests),
        concurrency=settings.fetch_concurrency,
    )
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        tell(f"{min(done, len(digests))} of {len(digests)} tasks")

    called = f"the dataset of v{manifest.version} of {manifest.control!r}"
    try:
        dataset = datasets.build(
            (task for task in learnt.tasks() if not task.left_out),
            learnt.control,
            images,
            folder / "dataset",
            check=count,
            last=True,
            make_files=make_files,
            views=views,
        )
    except ImagesMissing as error:
        raise LabelloopError(f"{called} cannot be fetched any more: {error}") from error
    if dataset is None:
        raise LabelloopError(f"{called} has no object left")
    return Rebuilt(dataset, images, "" if dataset.counts.reasons else _difference(dataset.counts, manifest.lineage))


def missing_sentence(rebuilt: Rebuilt) -> str:
    """Tasks of the version that could not be fetched again: `2 of 40 tasks (1 changed, 1 not_found), …`."""
    counts = rebuilt.dataset.counts
    why = ", ".join(f"{number} {reason}" for reason, number in Counter(rebuilt.missing.values()).most_common())
    named = "; ".join(f"task {task}: {sentence}" for task, sentence in rebuilt.first_missing[:_NAMED])
    return f"{len(rebuilt.missing)} of {counts.tasks} tasks are missing ({why}), {named}"


def settings_of(manifest: Manifest) -> dict[str, Any]:
    """The settings that a version was trained with."""
    found = manifest.lineage.get("settings")
    return dict(found) if isinstance(found, dict) else {}


def _difference(counts: Counts, lineage: Mapping[str, Any]) -> str:
    """Of the numbers of images and objects in the lineage and now. Tiles may not have been asked for."""
    tiles = lineage.get("tiles") or 0
    now = {
        "images": {"train": counts.train_images - counts.tiles + tiles, "val": counts.val_images},
        "things": {"train": counts.train_objects, "val": counts.val_objects},
    }
    words = {"images": "images", "things": "objects"}
    found = [
        f"{before[split]} {words[what]} of {split} then, {number} now"
        for what, numbers in now.items()
        if isinstance(before := lineage.get(what), dict)
        for split, number in numbers.items()
        if split in before and before[split] != number
    ]
    return f"this labelloop reads the same annotations otherwise: {'; '.join(found)}" if found else ""
