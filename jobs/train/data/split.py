"""Which pictures are held out to validate on: by what is seen, against a border that only ever falls. Pure.

A picture's place is the hash of the value that names it, so the same picture in two tasks is on one side. Below the
border it is in the val set. A lower border moves pictures from val to train, which is safe; the other way round a
version would be measured on what it learnt from, so the border of a project never rises.
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
_MIN_TASKS = 4  # tasks of a val set, as soon as there are ten
_MIN_USED = 2  # of them in which the control was used
_SMALL_SHARE = 0.4  # of fewer tasks
_RARE_SHARE = 0.5  # at most, to have a second class in the val set of a classifier


def place_of(value: object) -> float:
    """0–1, evenly spread: the same for the same value, also where its digest stands for it."""
    if (digest := digest_of(value)) is not None:
        return int.from_bytes(digest[:8]) / 2**64
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64


def split_of(value: object, border: float) -> Split:
    """On which side a picture is."""
    return "val" if place_of(value) < border else "train"


@dataclass(slots=True)
class Places:
    """Where the annotated pictures of one control lie; eight bytes each."""

    control: Control
    all: "array[float]" = field(default_factory=lambda: array("d"))
    used: "array[float]" = field(default_factory=lambda: array("d"))  # of those in which the control was used
    lowest: dict[str, float] = field(default_factory=dict)  # label → of the pictures that have it

    def add(self, value: object, regions: Iterable[Mapping[str, Any]]) -> None:
        """A task's picture, if the control was used in it or nothing is there."""
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
        """`val_fraction`, or as near as leaves a val set: four of ten tasks or more; of a classifier two classes.

        By chance a small project's part may be much larger: beyond those four it is never more than `val_fraction`,
        there is little enough to learn from. One picture at least stays for that.
        """
        places, used = sorted(set(self.all)), sorted(set(self.used))
        if len(used) < 2:
            return 0.0
        least = min(_MIN_TASKS, max(1, int(_SMALL_SHARE * len(places))))
        most = max(least, math.ceil(val_fraction * len(places)))
        wanted = min(max(val_fraction, _above(places[least - 1])), _above(places[min(most, len(places)) - 1]))
        wanted = max(wanted, _above(used[min(_MIN_USED, int(_SMALL_SHARE * len(used)) or 1) - 1]))
        if self.control.yolo_task == "classify" and len(self.lowest) > 1:
            second = sorted(self.lowest.values())[1]
            wanted = max(wanted, min(_above(second), _RARE_SHARE))
        return min(wanted, used[-1])


def lower_border(places: Iterable[Places], val_fraction: float, previous: float | None) -> float:
    """The border for all controls of a project from now on. `previous`: the one so far."""
    wanted = max((each.border(val_fraction) for each in places), default=val_fraction)
    return wanted if previous is None else min(wanted, previous)


def _above(place: float) -> float:
    return place + 2.0**-50
