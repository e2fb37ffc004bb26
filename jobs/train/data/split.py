"""Splits images into train and val by a hash of their address. Pure.

The hash, a number from 0 to 1, is the image's place; places below the project's border are val. So the same image in
two tasks is in one set. The border of a project never rises: moving images from val to train is safe, the other way
round a version would be measured on images that it was trained on.
"""

import hashlib
import json
import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jobs.train.data.addresses import digest_of
from shared.labelstudio.controls import Control

Split = Literal["train", "val"]
_MIN_TASKS = 4  # of a val set, once there are ten
_MIN_USED = 2  # tasks of a val set in which the control was used
SMALL_SHARE = 0.4  # part of fewer tasks that goes to val
_RARE_SHARE = 0.5  # highest border that a classifier may need to get a second class into val


def place_of(value: object) -> float:
    """The place of an image, 0–1, evenly distributed; the same for a `data:` value and for its `reference`."""
    if (digest := digest_of(value)) is not None:
        return int.from_bytes(digest[:8]) / 2**64
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64


def split_of(value: object, border: float) -> Split:
    """The set that the image at an address is in."""
    return "val" if place_of(value) < border else "train"


@dataclass(slots=True)
class Places:
    """The places of the annotated images of one control, eight bytes each."""

    control: Control
    all: "array[float]" = field(default_factory=lambda: array("d"))
    used: "array[float]" = field(default_factory=lambda: array("d"))  # of images in which the control was used
    lowest: dict[str, float] = field(default_factory=dict)  # label → lowest place of the images that have it

    def add(self, value: object, regions: Iterable[Mapping[str, Any]]) -> None:
        """Add a task's image, unless all of its regions are of other controls."""
        names, every = (self.control.name, self.control.labels_name), list(regions)
        used = [region.get("value") for region in every if region.get("from_name") in names]
        if every and not used:
            return
        place = place_of(value)
        self.all.append(place)
        if used:
            self.used.append(place)
        for one in used:
            given = one.values() if isinstance(one, Mapping) else ()
            for label in (label for each in given if isinstance(each, list) for label in each):
                if label in self.control.label_values:
                    self.lowest[label] = min(self.lowest.get(label, 1.0), place)

    def border(self, val_fraction: float) -> float:
        """The border this control wants: `val_fraction`, corrected for small projects.

        Higher if fewer than four tasks (of fewer than ten tasks: 40 %) would be val, fewer than two in which the
        control was used, or of a classifier fewer than two classes. Lower if by chance more than `val_fraction` of the
        tasks would be. At least one image in which the control was used stays in train; 0 if there is one only.
        """
        places, used = sorted(set(self.all)), sorted(set(self.used))
        if len(used) < 2:
            return 0.0
        min_val = min(_MIN_TASKS, max(1, int(SMALL_SHARE * len(places))))
        max_val = max(min_val, math.ceil(val_fraction * len(places)))
        wanted = min(max(val_fraction, _above(places[min_val - 1])), _above(places[min(max_val, len(places)) - 1]))
        wanted = max(wanted, _above(used[min(_MIN_USED, int(SMALL_SHARE * len(used)) or 1) - 1]))
        if self.control.yolo_task == "classify" and len(self.lowest) > 1:
            second = sorted(self.lowest.values())[1]
            wanted = max(wanted, min(_above(second), _RARE_SHARE))
        return min(wanted, used[-1])


def lower_border(places: Iterable[Places], val_fraction: float, previous: float | None) -> float:
    """The new border of a project: the highest that a control wants, never above `previous` (None: the first run)."""
    wanted = max((each.border(val_fraction) for each in places), default=val_fraction)
    return wanted if previous is None else min(wanted, previous)


def _above(place: float) -> float:
    return place + 2.0**-50
