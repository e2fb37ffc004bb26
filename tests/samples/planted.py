"""Real annotations and what real models found there (bench.suspects.record), with errors planted by chance."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.train.evidence import Outcome
from jobs.train.suspects import Dispute
from jobs.train.yolo.overlaps import box_overlaps
from shared.geometry.detections import Floats, Ints

KINDS = ("missing", "spurious", "swapped", "loose")
RATE = 0.04
"""Part of the annotated objects that gets an error of each kind."""
_RECORDED = Path(__file__).with_name("suspects.json")
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Planted:
    """One error. `index`: of the annotated object in its picture; for a missing one, where it was, `box`."""

    kind: str
    picture: int
    index: int
    box: Floats  # (4,) xyxy


@dataclass(frozen=True, slots=True)
class Drawn:
    """The annotated objects of one picture."""

    classes: Ints  # (T,)
    boxes: Floats  # (T, 4)
    size: int  # pixels of each side


def plant(
    pictures: Sequence[Drawn], labels: int, random: np.random.Generator, rate: float = RATE
) -> tuple[list[Drawn], list[Planted]]:
    """The same annotations with `rate` of each kind of error; each object has at most one."""
    every = [(number, index) for number, one in enumerate(pictures) for index in range(len(one.classes))]
    order = [every[place] for place in random.permutation(len(every))]
    count = max(round(rate * len(every)), 1)
    wrong = {place: KINDS[number // count] for number, place in enumerate(order[: 4 * count])}
    spoilt, errors = [], []
    for number, one in enumerate(pictures):
        rows: list[tuple[int, Floats]] = []
        for index, (class_, box) in enumerate(zip(one.classes.tolist(), one.boxes, strict=True)):
            kind = wrong.get((number, index), "")
            if kind == "missing":
                errors.append(Planted(kind, number, -1, box))
                continue
            if kind == "spurious":  # this object stays, one of its size is drawn elsewhere
                if (added := _elsewhere(box, one, random)) is not None:
                    errors.append(Planted(kind, number, len(rows), added))
                    rows.append((class_, added))
            elif kind == "swapped":
                errors.append(Planted(kind, number, len(rows), box))
                class_ = (class_ + 1) % labels
            elif kind == "loose":
                box = _loosened(box, one.size, random)
                errors.append(Planted(kind, number, len(rows), box))
            rows.append((class_, box))
        boxes = np.array([box for _, box in rows], dtype=np.float64).reshape(-1, 4)
        spoilt.append(Drawn(np.array([class_ for class_, _ in rows], dtype=np.int64), boxes, one.size))
    return spoilt, errors


def recorded(path: Path = _RECORDED) -> tuple[list[str], list[dict[str, Any]]]:
    """(labels, pictures), as bench.suspects.record wrote them."""
    kept = json.loads(path.read_text())
    return kept["labels"], kept["pictures"]


def drawn(pictures: Iterable[dict[str, Any]]) -> list[Drawn]:
    """What was annotated in recorded pictures."""
    tables = [(np.array(one["truth"], dtype=np.float64).reshape(-1, 5), one["size"]) for one in pictures]
    return [Drawn(table[:, 0].astype(np.int64), table[:, 1:], size) for table, size in tables]


def outcomes(pictures: Sequence[dict[str, Any]], annotated: Sequence[Drawn]) -> list[Outcome]:
    """What was found in recorded pictures, beside these annotations."""
    made = []
    for one, truth in zip(pictures, annotated, strict=True):
        table = np.array(one["found"], dtype=np.float64).reshape(-1, 6)
        boxes = table[:, 2:]
        made.append(
            Outcome(
                str(one["task"]),
                truth.classes,
                table[:, 0].astype(np.int64),
                table[:, 1],
                box_overlaps(truth.boxes, boxes),
                boxes,
                annotated=truth.boxes,
                size=(truth.size, truth.size),
            )
        )
    return made


def _elsewhere(box: Floats, picture: Drawn, random: np.random.Generator) -> Floats | None:
    """A box of this size where nothing is annotated; None if there is no room."""
    size = box[2:] - box[:2]
    for _ in range(_TRIES):
        corner = random.random(2) * (picture.size - size)
        placed = np.concatenate([corner, corner + size])
        if box_overlaps(placed[None], picture.boxes).max() < 0.05:
            return placed
    return None


def _loosened(box: Floats, size: int, random: np.random.Generator) -> Floats:
    """Moved and resized, so that the overlap with the object is 0.3 to 0.55."""
    extent = np.tile(box[2:] - box[:2], 2)
    while True:
        moved = np.clip(box + random.normal(0, 0.25, 4) * extent, 0, size)
        if (moved[2:] - moved[:2] > 3).all() and 0.3 <= box_overlaps(box[None], moved[None])[0, 0] <= 0.55:
            return moved


def hits_among(
    listed: Sequence[Dispute], errors: Sequence[Planted], pictures: Sequence[dict[str, Any]]
) -> list[int | None]:
    """For each dispute the index of the planted error that it points at, of whatever kind; None: at none."""
    at = {(error.picture, error.index): number for number, error in enumerate(errors) if error.index >= 0}
    found: list[int | None] = []
    for one in listed:
        if one.annotated is not None:
            found.append(at.get((one.picture, one.annotated)))
            continue
        assert one.found is not None
        box = np.array(pictures[one.picture]["found"][one.found][2:])
        gone = [
            (float(box_overlaps(error.box[None], box[None])[0, 0]), number)
            for number, error in enumerate(errors)
            if error.kind == "missing" and error.picture == one.picture
        ]
        overlap, number = max(gone, default=(0.0, -1))
        found.append(number if overlap >= 0.3 else None)
    return found
