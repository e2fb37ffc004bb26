"""Time to convert Detections of one 1280×720 image to Label Studio's regions: `python -m bench.convert`.

300 boxes, upright and rotated, or 100 masks, which are traced first. For comparison, in turns: `json.dumps` of the same
regions, and OpenCV's `findContours` on the same masks.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.predict_parts import SIZE, write_json
from bench.table import Row
from shared.geometry.detections import Detections, Floats, envelope, xywhr_to_corners
from shared.geometry.outlines import masks_to_outlines
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions import CONTROLS

_ROWS = {"boxes": "300 boxes", "polygons": "100 masks of 1280×720"}
_BOXES, _MASKS = 300, 100
_TARGETS_MS = {"boxes": 3.0, "rotated boxes": 3.0, "polygons": 60.0, "brushes": 60.0, "ellipses": 60.0}
_TAGS = {
    "boxes": "RectangleLabels",
    "rotated boxes": "RectangleLabels",
    "polygons": "PolygonLabels",
    "brushes": "BrushLabels",
    "ellipses": "EllipseLabels",
}
_ROUNDS = 30


def rows() -> Iterator[Row]:
    """What the table of predict says of it."""
    objects = _objects(_MASKS)
    for name, what in _ROWS.items():
        figures = _boxes(name) if "boxes" in name else _masks(name, objects)
        value, beside = f"{figures['ms']:.1f} ms", f"{figures['json_ms']:.1f} ms, their json.dumps"
        yield Row(f"{what} converted", value, beside, figures["ms"], "≤", _TARGETS_MS[name], "ms")


def main() -> int:
    """Measure, print, write; answers 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    objects = _objects(_MASKS)
    report = {}
    for name, target in _TARGETS_MS.items():
        report[name] = _boxes(name) if "boxes" in name else _masks(name, objects)
        report[name]["target_ms"] = target
        print(f"{name:14}" + "  ".join(f"{key} {value}" for key, value in report[name].items()), flush=True)
    missed = [name for name, figures in report.items() if figures["ms"] > figures["target_ms"]]
    if missed:
        print(f"slower than the target: {', '.join(missed)}", file=sys.stderr)
    if asked.json:
        write_json(asked.json, report)
    return 1 if missed else 0


def _boxes(name: str) -> dict[str, float]:
    random = np.random.default_rng(0)
    centre = random.uniform(0.02, 0.98, (_BOXES, 2)) * SIZE  # some cross the border
    turned = np.hstack([centre, random.uniform(10, 150, (_BOXES, 2)), random.uniform(0, np.pi, (_BOXES, 1))])
    if name == "boxes":
        turned[:, 4] = 0.0
    xyxy = envelope(xywhr_to_corners(turned))
    found = _found(xyxy, rotated=None if name == "boxes" else turned)
    write = _writer(name)
    ours, dumping = _in_turns(lambda: write(found), lambda: json.dumps(write.last))
    return {"ms": ours, "json_ms": dumping, "regions": len(write.last)}


def _masks(name: str, objects: list[tuple[NDArray[np.uint8], tuple[int, int]]]) -> dict[str, float]:
    import cv2

    corners = np.array([corner for _, corner in objects], dtype=np.float64)
    sides = np.array([mask.shape[::-1] for mask, _ in objects])
    xyxy = np.hstack([corners, corners + sides])
    write = _writer(name)

    def convert() -> None:
        traced = masks_to_outlines([mask for mask, _ in objects], 0.75)
        placed = (tuple(ring + corner for ring in rings) for rings, corner in zip(traced, corners, strict=True))
        write(_found(xyxy, outlines=tuple(placed)))

    def contours() -> None:
        for mask, _ in objects:
            cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)

    ours, bare, dumping = _in_turns(convert, contours, lambda: json.dumps(write.last))
    return {"ms": ours, "find_contours_ms": bare, "json_ms": dumping, "regions": len(write.last)}


class _Writer:
    """A control's writer that remembers its last regions."""

    def __init__(self, tag: str) -> None:
        labels = '<Label value="Tree"/>'
        config = f'<View><Image name="image" value="$image"/><{tag} name="label" toName="image">{labels}</{tag}></View>'
        (self._control,) = parse_label_config(config)
        self.last: list[dict[str, Any]] = []

    def __call__(self, found: Detections) -> None:
        self.last = CONTROLS[self._control.tag].write(found, ["Tree"], self._control)


def _writer(name: str) -> _Writer:
    return _Writer(_TAGS[name])


def _found(xyxy: Floats, **shapes: Any) -> Detections:
    count = len(xyxy)
    return Detections(*SIZE, xyxy, np.full(count, 0.5), np.zeros(count, dtype=np.int64), ("tree",), **shapes)


def _objects(count: int) -> list[tuple[NDArray[np.uint8], tuple[int, int]]]:
    """(mask, (left, top) of its box) of objects 40 to 300 pixels wide; a mask has the size of its box."""
    random = np.random.default_rng(0)
    objects = []
    for _ in range(count):
        width, height = (int(side) for side in random.integers(40, 300, 2))
        left, top = int(random.integers(0, SIZE[0] - width)), int(random.integers(0, SIZE[1] - height))
        y, x = np.mgrid[0:height, 0:width] + 0.5
        across, down = (x / width - 0.5) * 2.5, (y / height - 0.5) * 2.5
        angle, distance = np.arctan2(down, across), np.hypot(across, down)
        waves = sum(random.uniform(0, 0.08) * np.sin(n * angle + random.uniform(0, 6)) for n in (2, 3, 5, 9, 15))
        mask = (distance < 1 + waves) & ((distance > 0.3) | (random.random() < 0.7))
        objects.append((mask.astype(np.uint8), (left, top)))
    return objects


def _in_turns(*actions: Callable[[], Any]) -> list[float]:
    """Median milliseconds of each action; all run once in every round."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(_ROUNDS):
        for action, taken in zip(actions, times, strict=True):
            started = time.perf_counter()
            action()
            taken.append(time.perf_counter() - started)
    return [round(statistics.median(taken) * 1000, 2) for taken in times]


if __name__ == "__main__":
    sys.exit(main())
