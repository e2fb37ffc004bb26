"""Reports what ultralytics silently leaves out of a dataset: files that it cannot read, objects that it drops."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jobs.train.data.yolo_dataset import TILES
from jobs.train.training import TrainingSettings

_MIN_SIDE = 2.0  # pixels at the model's image size; ultralytics' RandomPerspective drops boxes that are not larger
_MAX_RATIO = 100.0  # of the longer side to the shorter
_ASIDE = re.compile(r"([^/]+): ignoring corrupt image/label: (.*)")
_TWICE = re.compile(r"(\d+) duplicate labels removed")


def scan_notes(data: Path, settings: TrainingSettings) -> tuple[str, ...]:
    """Sentences about a dataset (`data.yaml`) after a training, from the cache files of ultralytics' scan."""
    caches = [cache for split in ("train", "val", TILES) for cache in _caches(data.parent, split)]
    messages = list(dict.fromkeys(str(message) for cache in caches for message in cache["msgs"]))
    aside = [f"{found[1]}: {found[2]}" for message in messages if (found := _ASIDE.search(message))]
    twice = sum(int(found[1]) for message in messages if (found := _TWICE.search(message)))
    labels = {label["im_file"]: label for cache in caches for label in cache.get("labels", ())}.values()
    largest = max((len(label["cls"]) for label in labels), default=0)
    stems = {label["im_file"]: Path(label["im_file"]).stem for label in labels}
    cut = {stem.rpartition("-")[0] for stem in stems.values()}  # pictures whose tiles show what they do not
    thin = sum(_too_thin(label, settings.image_size) for label in labels if stems[label["im_file"]] not in cut)
    told = (
        (len(aside), f"{len(aside)} images could not be used by ultralytics; the first: {''.join(aside[:1])}"),
        (twice, f"{twice} objects are written twice and count once"),
        (
            thin,
            f"{thin} objects are {_MIN_SIDE:g} pixels wide or less at LABELLOOP_IMAGE_SIZE={settings.image_size} (or "
            f"over {_MAX_RATIO:g} times longer than wide): training takes them for background",
        ),
        (
            largest > settings.max_objects,
            f"an image has {largest} objects, of which the {settings.max_objects} most confident are shown "
            "(LABELLOOP_MAX_OBJECTS)",
        ),
    )
    return tuple(f"{sentence[0].upper()}{sentence[1:]}." for holds, sentence in told if holds)


def _caches(folder: Path, split: str) -> list[dict[str, Any]]:
    from ultralytics.data.utils import load_dataset_cache_file

    paths = (folder / "labels" / f"{split}.cache", folder / f"{split}.cache")  # the second is a classifier's
    return [load_dataset_cache_file(path) for path in paths if path.exists()]


def _too_thin(label: dict[str, Any], image_size: int) -> int:
    height, width = label["shape"]
    sides = np.asarray(label["bboxes"])[:, 2:4] * (width, height) * (image_size / max(width, height))
    shorter, longer = sides.min(axis=1, initial=np.inf), sides.max(axis=1, initial=0.0)
    return int(((shorter <= _MIN_SIDE) | (longer >= _MAX_RATIO * shorter)).sum())
