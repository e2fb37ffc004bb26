"""Writes samples as COCO: images, and one JSON file for each of train and val.

Format: https://cocodataset.org/#format-data. Numbers are pixels of the image file, which may be smaller than the
original. Masks with holes are uncompressed run lengths, which COCO has for crowds too; all others are polygons.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.train.data.samples import Sample
from jobs.train.data.split import Split
from jobs.train.data.yolo_dataset import link
from shared.errors import LabelloopError
from shared.geometry.detections import Detections, Floats, envelope, xywhr_to_corners
from shared.geometry.outlines import outline_to_runs
from shared.geometry.rings import clip_outline, parts_of, signed_area
from shared.labelstudio.controls import Control

_CATEGORIES = "categories.json"
_PARTS = ("images", "annotations")
_SPLITS: tuple[Split, ...] = ("train", "val")


class CocoFiles:
    """`images/<split>/<name>.jpg`, and lines of JSON of which `finish` makes `annotations/instances_<split>.json`.

    The lines wait on the disk: the annotations of a large dataset do not fit into memory.
    """

    def __init__(
        self,
        control: Control,
        classes: tuple[str, ...],
        folder: Path,
        image_size: int,  # noqa: ARG002  (of files_for, which this stands for)
        *,
        reduced_decoding: bool,  # noqa: ARG002
    ) -> None:
        """Raises LabelloopError for a classifier: COCO describes objects."""
        if control.yolo_task == "classify":
            raise LabelloopError(
                f"{control.name!r} classifies whole images, which COCO cannot describe: use --format yolo"
            )
        self._folder = folder
        self._images = 0
        self._objects = 0
        self.data = folder / _CATEGORIES
        points = {"keypoints": list(control.point_names), "skeleton": []} if control.point_names else {}
        categories = [{"id": number, "name": name, **points} for number, name in enumerate(classes, start=1)]
        self.data.write_text(json.dumps(categories, ensure_ascii=False), encoding="utf-8")
        for split in _SPLITS:
            (folder / "images" / split).mkdir(parents=True)
            for part in _PARTS:
                _lines(folder, part, split).touch()

    def add(self, split: Split, sample: Sample) -> int:
        file = self._folder / "images" / split / f"{sample.name}{sample.image.suffix}"
        link(sample.image, file)
        with Image.open(file) as image:
            width, height = image.size
        self._images += 1
        self._write("images", split, {"id": self._images, "file_name": file.name, "width": width, "height": height})
        found = list(objects_of(sample.found, width, height))
        for each in found:
            self._objects += 1
            self._write("annotations", split, {"id": self._objects, "image_id": self._images, **each, "iscrowd": 0})
        return len(found)

    def _write(self, part: str, split: Split, item: dict[str, Any]) -> None:
        with _lines(self._folder, part, split).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(item) + "\n")


def finish(folder: Path, description: str) -> None:
    """Make the JSON files of a folder to which CocoFiles wrote all samples. `description`: for people."""
    categories = json.loads((folder / _CATEGORIES).read_text(encoding="utf-8"))
    (folder / "annotations").mkdir()
    for split in _SPLITS:
        with (folder / "annotations" / f"instances_{split}.json").open("w", encoding="utf-8") as out:
            head = {"info": {"description": description}, "licenses": [], "categories": categories}
            out.write(json.dumps(head, ensure_ascii=False)[:-1])
            for part in _PARTS:
                path = _lines(folder, part, split)
                with path.open(encoding="utf-8") as every:
                    out.write(f', "{part}": [')
                    out.writelines(("," if place else "") + line for place, line in enumerate(every))
                    out.write("]")
                path.unlink()
            out.write("}\n")
    (folder / _CATEGORIES).unlink()


def _lines(folder: Path, part: str, split: Split) -> Path:
    return folder / f"{part}-{split}.lines"


def objects_of(found: Detections, width: int, height: int) -> Iterator[dict[str, Any]]:
    """The annotations of one image file of this size, without ids; none for objects outside the image."""
    scale = np.array([width / found.width, height / found.height])
    size = np.array([width, height], dtype=np.float64)
    corners = xywhr_to_corners(found.rotated) * scale if found.rotated is not None else None
    for place, class_ in enumerate(found.classes.tolist()):
        more: dict[str, Any] = {}
        box = found.xyxy[place].reshape(2, 2) * scale
        if corners is not None:
            box = envelope(corners[place][None])[0].reshape(2, 2)
            more["segmentation"] = [_flat(corners[place])]
            more["area"] = _rounded(abs(signed_area(corners[place])))
        if found.outlines is not None:
            outline = tuple(ring * scale for ring in found.outlines[place])
            visible = clip_outline(outline, width, height)
            if not visible:
                continue
            box = envelope(np.concatenate(visible)[None])[0].reshape(2, 2)
            more |= _masked(parts_of(visible), width, height)
        (left, top), (right, bottom) = np.clip(box, 0.0, size).tolist()
        if right <= left or bottom <= top:
            continue
        if found.keypoints is not None:
            there = found.keypoints[place, :, 2] > 0
            points = np.where(there[:, None], found.keypoints[place, :, :2] * scale, 0.0)
            shown = np.where(there, 2.0, 0.0)  # Label Studio has no hidden points
            more |= {"keypoints": _flat(np.hstack([points, shown[:, None]])), "num_keypoints": int(there.sum())}
        if found.tracks is not None:
            more["track_id"] = int(found.tracks[place])
        sides = _rounded(right - left), _rounded(bottom - top)
        yield {
            "category_id": class_ + 1,
            "bbox": [_rounded(left), _rounded(top), *sides],
            "area": _rounded((right - left) * (bottom - top)),
            **more,
        }


def _masked(parts: Sequence[Sequence[Floats]], width: int, height: int) -> dict[str, Any]:
    """Segmentation and area of clipped parts, each with its holes."""
    area = _rounded(sum(abs(signed_area(outer)) - sum(map(abs, map(signed_area, holes))) for outer, *holes in parts))
    if all(len(part) == 1 for part in parts):
        return {"segmentation": [_flat(ring) for (ring,) in parts], "area": area}
    begin, end = outline_to_runs(tuple(ring for part in parts for ring in part), width, height)
    change = np.zeros(width * height + 1, dtype=np.int64)
    np.add.at(change, begin, 1)
    np.add.at(change, end, -1)
    mask = (np.cumsum(change)[:-1] > 0).reshape(height, width)
    return {"segmentation": {"size": [height, width], "counts": run_lengths(mask)}, "area": area}


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed run lengths of an (H, W) mask: pixels column by column, first the number of zeros."""
    pixels = np.concatenate([[0], mask.T.reshape(-1).astype(np.int8), [-1]])
    changes = np.flatnonzero(np.diff(pixels))
    lengths: list[int] = np.diff(np.concatenate([[0], changes])).tolist()
    return lengths


def _flat(points: Floats) -> list[float]:
    return [_rounded(number) for number in points.reshape(-1).tolist()]


def _rounded(number: float) -> float:
    return round(float(number), 2)
