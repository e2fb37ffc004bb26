"""The val set as it was written for ultralytics: its pictures, read as predict reads them, and what was annotated.

Formats: https://docs.ultralytics.com/datasets
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from shared.geometry.detections import Detections, Floats, clip_rotated, envelope, xywhn_to_xyxy, xywhr_to_corners
from shared.media.decode import decode_for
from shared.media.fit import Side, Sized
from shared.yolo_task import YoloTask


@dataclass(frozen=True, slots=True)
class ValSet:
    """What a data.yaml of this project says of it."""

    folder: Path
    classes: tuple[str, ...]
    points: tuple[str, ...]  # names of the keypoints
    sigmas: Floats  # (K,) of these

    @classmethod
    def of(cls, data: Path) -> "ValSet":
        """`data`: data.yaml."""
        described = json.loads(data.read_text(encoding="utf-8"))
        return cls(
            data.parent / described["val"],
            tuple(described["names"]),
            tuple(described.get("kpt_names", {}).get("0", ())),
            np.array(described.get("kpt_oks_sigmas", ()), dtype=np.float64),
        )

    def pictures(self) -> list[Path]:
        """Always in the same order."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def annotated(self, picture: Path, width: int, height: int, yolo_task: YoloTask) -> Detections:
        """The objects in the label file of a picture of this size in pixels. What is written twice counts once."""
        file = self.folder.parent.parent / "labels" / self.folder.name / f"{picture.stem}.txt"
        lines = dict.fromkeys(file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()
        rows = [np.array(line.split(), dtype=np.float64) for line in lines]
        numbers = [row[1:] for row in rows]
        classes = [int(row[0]) for row in rows]
        size = np.array([width, height], dtype=np.float64)
        if yolo_task == "segment":
            outlines = tuple((row.reshape(-1, 2) * size,) for row in numbers)
            boxes = [envelope(ring[None])[0] for (ring,) in outlines]
            return Detections.annotated(width, height, boxes, classes, self.classes, outlines=outlines)
        if yolo_task == "obb":
            rings = [row.reshape(-1, 2) * size for row in numbers]
            rotated = clip_rotated(np.array([_around(ring) for ring in rings]).reshape(-1, 5), width, height)
            upright = envelope(xywhr_to_corners(rotated))
            return Detections.annotated(width, height, upright, classes, self.classes, rotated=rotated)
        columns = 4 + (3 * len(self.points) if yolo_task == "pose" else 0)
        table = np.array(numbers, dtype=np.float64).reshape(-1, columns)
        xyxy = xywhn_to_xyxy(table[:, :4], width, height)
        if yolo_task != "pose":
            return Detections.annotated(width, height, xyxy, classes, self.classes)
        points = table[:, 4:].reshape(-1, len(self.points), 3) * np.array([width, height, 1.0])
        return Detections.annotated(
            width, height, xyxy, classes, self.classes, keypoints=points, point_names=self.points
        )


def picture_of(path: Path, side: Side) -> Sized:
    """A picture for a model that sees `side` pixels of its longer side. Raises ImageError.

    Its size was bounded when the file was written.
    """
    return decode_for(path.read_bytes(), sys.maxsize, side)


def task_of(picture: Path) -> str:
    """The id of the task of a picture: `12` of `12.jpg` and of `12-3.jpg` (a crop or a frame)."""
    return picture.stem.split("-", 1)[0]


def _around(ring: Floats) -> tuple[float, float, float, float, float]:
    """The smallest rotated box around (K, 2) points, as ultralytics makes it of a label."""
    (x, y), (width, height), degrees = cv2.minAreaRect(ring.astype(np.float32))
    return x, y, width, height, float(np.deg2rad(degrees))
