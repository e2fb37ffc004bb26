"""Whether a control learns from tiles of its pictures, and of which size: by how small its objects are. Pure.

docs/tiles.md has the experiment that the figures come from.
"""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jobs.train.data.snapshot import SnapshotTask
from shared.geometry.detections import Detections, Floats
from shared.geometry.tiles import Tiling, windows
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS

logger = logging.getLogger(__name__)

SMALL = 16.0
"""Pixels at the model's input. Where the median object is smaller in whole pictures, tiles are used."""
_STAYS = 20.0
"""The same where the served version has tiles: near the border a few more annotations would else change it each run."""
_LARGE = 32.0
"""Pixels that the median object has in a tile, as the model sees it: at COCO's border of small and medium."""
_ENLARGED = 2
"""A tile has at least the model's pixels divided by this: more enlarging shows no more."""
_TILES = 400
"""Of the median picture, at most: the side grows with larger pictures."""
_WHOLE = 0.75
"""Tiles whose side is more than this part of the median picture's longer side show hardly more than it does."""
_FIT = 95  # percent of the objects fit into the overlap of two tiles
_OVERLAPS = (0.1, 0.5)  # of the side: at least, at most
_ROUND = 32  # pixels
_SMALLEST = 64  # pixels of a side, as of LABELLOOP_TILES
_READ = 500  # tasks that are looked at, evenly over all
_LONGEST = 1_000_000  # pixels of a picture's side that are believed


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the annotated objects of some pictures are."""

    sides: Floats  # (N,) pixels of the picture: the root of an object's area
    longer: Floats  # (N,) pixels: the longer side of the upright box around it
    pictures: Floats  # (N, 2) width and height of its picture in pixels

    def at(self, image_size: int) -> float:
        """Median side in whole pictures of which a model sees `image_size` pixels on the longer side."""
        return float(np.median(self.sides * image_size / self.pictures.max(axis=1)))


def sizes_of(tasks: Iterable[SnapshotTask], control: Control, count: int) -> Sizes:
    """Of the objects that a control learns from, in the pictures whose regions tell their size.

    `tasks`: of the snapshot, with their splits; `count`: about so many.
    """
    sides, longer, pictures = list[float](), list[float](), list[tuple[int, int]]()
    step = max(math.ceil(count / _READ), 1)
    for number, task in enumerate(tasks):
        if number % step or task.split != "train" or not (size := _size_of(task)):
            continue
        try:
            found = CONTROLS[control.tag].read(task.regions, control, *size).found
        except Exception:  # an import may write any JSON; the dataset leaves the task out, and says why
            logger.exception(f"task {task.id} tells no sizes", extra={"event": "sizes_unread", "task": task.id})
            continue
        across = found.xyxy[:, 2:] - found.xyxy[:, :2]
        kept = (across > 0).all(axis=1)
        sides += _sides(found)[kept].tolist()
        longer += across.max(axis=1, initial=0.0)[kept].tolist()
        pictures += [size] * int(kept.sum())
    return Sizes(np.array(sides), np.array(longer), np.array(pictures, dtype=np.float64).reshape(-1, 2))


def decide(wanted: str | int, sizes: Sizes, image_size: int, *, cut_before: bool = False) -> Tiling | None:
    """`wanted`: auto, off or the pixels of a tile's side. `image_size`: the model's, in pixels. None: no tiles.

    `cut_before`: whether the served version has tiles.
    """
    if wanted == "off":
        return None
    if wanted != "auto":
        return _tiling(int(wanted), sizes)
    if not len(sizes.sides) or sizes.at(image_size) >= (_STAYS if cut_before else SMALL):
        return None
    side = _rounded(max(float(np.median(sizes.sides)) * image_size / _LARGE, image_size / _ENLARGED))
    width, height = np.median(sizes.pictures, axis=0).tolist()
    while len(windows(int(width), int(height), _tiling(side, sizes))) > _TILES:
        side = _rounded(side * 1.1 + _ROUND)
    return _tiling(side, sizes) if side <= _WHOLE * max(width, height) else None


def _tiling(side: int, sizes: Sizes) -> Tiling:
    least, most = (int(side * part) for part in _OVERLAPS)
    fitting = float(np.percentile(sizes.longer, _FIT)) if len(sizes.longer) else 2 * least
    return Tiling(side, min(max(math.ceil(fitting), least), most))


def _rounded(side: float) -> int:
    return max(round(side / _ROUND) * _ROUND, _SMALLEST)


def _sides(found: Detections) -> Floats:
    """(N,) pixels."""
    boxes = found.xyxy[:, 2:] - found.xyxy[:, :2] if found.rotated is None else found.rotated[:, 2:4]
    sides: Floats = np.sqrt(np.maximum(boxes, 0.0).prod(axis=1))
    return sides


def _size_of(task: SnapshotTask) -> tuple[int, int] | None:
    """(width, height) of the upright picture in pixels, as Label Studio's page or an import wrote it into a region."""
    for region in task.regions:
        size = region.get("original_width"), region.get("original_height")
        if all(isinstance(one, int) and not isinstance(one, bool) and 0 < one < _LONGEST for one in size):
            return size  # type: ignore[return-value]
    return None
