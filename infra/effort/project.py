"""The effort of a whole project: annotations are counted one after the other, memory does not grow with them."""

import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from infra.effort.counts import ControlCounts, Counts
from infra.effort.edits import Edit, edits_of
from infra.effort.reading import Sitting
from infra.effort.weights import Fit, Timed, fit_weights
from shared.control_group import in_control_group
from shared.labelstudio.controls import Control
from shared.state.model_version import is_ours

_NEWEST = 5000  # annotations whose times are remembered
_DRAWS = 400  # bootstrap samples
_LEFT_OUT = {
    "unused": "begun from nothing although there was a prediction",
    "lost": "begun with a prediction that is not in Label Studio any more",
    "converted": "made of predictions by Label Studio's menu, so that nobody looked at them",
    "copied": "copied from another annotation",
    "elsewhere": "made by another program or imported",
    "unreadable": "of tasks that cannot be read",
}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that annotations took, pauses included."""

    helped: tuple[float, ...]  # of those that were begun with a prediction
    alone: tuple[float, ...]  # of those that were not
    control_group: bool  # whether those tasks were drawn by chance; else they are the first ones of the project

    def medians(self) -> tuple[float, float] | None:
        """Of one annotation with help, and without; None if there are not five of each."""
        if min(len(self.helped), len(self.alone)) < 5:
            return None
        return float(np.median(self.helped)), float(np.median(self.alone))

    def ratio(self) -> tuple[float, float, float] | None:
        """Time with help, as a part of that without: lower bound, estimate, upper bound (four times in five)."""
        medians = self.medians()
        if medians is None:
            return None
        random = np.random.default_rng(0)
        drawn = [
            np.median(random.choice(self.helped, len(self.helped)))
            / np.median(random.choice(self.alone, len(self.alone)))
            for _ in range(_DRAWS)
        ]
        low, high = np.quantile(drawn, [0.1, 0.9]).tolist()
        return low, medians[0] / medians[1], high


@dataclass(slots=True)
class ProjectEffort:
    """Counts of everything that was read so far."""

    uid: str
    controls: Sequence[Control]
    share: float = 0.0  # of the tasks that get no predictions: LABELLOOP_CONTROL_GROUP
    counts: dict[tuple[str, str], ControlCounts] = field(default_factory=dict)
    """(version, control) → counts; for annotations without a prediction the version is ""."""
    unseen: dict[tuple[str, str], Counts] = field(default_factory=dict)
    """The same for annotations of the control group, and predictions that were made after them: nobody was led by
    them. Objects are paired by likeness."""
    left_out: Counter[str] = field(default_factory=Counter)
    tasks: int = 0
    _timed: deque[Timed] = field(default_factory=lambda: deque(maxlen=_NEWEST), repr=False)
    _helped: deque[float] = field(default_factory=lambda: deque(maxlen=_NEWEST), repr=False)
    _alone: deque[float] = field(default_factory=lambda: deque(maxlen=_NEWEST), repr=False)
    _chosen: deque[float] = field(default_factory=lambda: deque(maxlen=_NEWEST), repr=False)  # of the control group

    def add(self, sittings: Iterable[Sitting]) -> None:
        """Count the annotations of one task."""
        self.tasks += 1
        for sitting in sittings:
            if sitting.begun in _LEFT_OUT:
                self.left_out[_LEFT_OUT[sitting.begun]] += 1
            else:
                self._count(sitting)

    def _count(self, sitting: Sitting) -> None:
        done: list[Edit] = []
        names = [control.name for control in self.controls]
        chosen = sitting.begun == "without" and in_control_group(self.uid, sitting.task, self.share)
        for control in self.controls:
            edits = edits_of(sitting.predicted, sitting.result, control)
            version = version_of(sitting.version, control.name, names) if sitting.begun != "without" else ""
            self.counts.setdefault((version, control.name), ControlCounts()).add(edits)
            done += edits
            for later, predicted in sitting.later.items() if chosen else ():
                if not (its := version_of(later, control.name, names)):
                    continue
                counts = self.unseen.setdefault((its, control.name), Counts())
                for edit in edits_of(predicted, sitting.result, control, seen=False):
                    counts.count(edit)
                    counts.final += edit.kind != "deleted"
        if sitting.seconds is None:
            return
        self._timed.append(Timed(sitting.annotator, sitting.seconds, Counter(edit.kind for edit in done)))
        if sitting.begun != "without":
            self._helped.append(sitting.seconds)
        elif chosen:
            self._chosen.append(sitting.seconds)
        else:
            self._alone.append(sitting.seconds)

    def fit(self) -> Fit:
        """The weights, fitted where there is enough evidence."""
        return fit_weights(tuple(self._timed))

    def times(self) -> Times:
        """Times with and without help."""
        chosen = bool(self._chosen)
        return Times(tuple(self._helped), tuple(self._chosen if chosen else self._alone), control_group=chosen)

    def versions(self) -> list[tuple[str, str]]:
        """The keys of `counts` by control, then oldest version first; last those that are none of labelloop's."""
        order = {control.name: place for place, control in enumerate(self.controls)}
        return sorted(self.counts, key=lambda key: (order[key[1]], _age(key[0])))

    def total(self, where: Callable[[str], bool] = bool) -> Counts:
        """All controls together, of the versions that `where` accepts ("" is without a prediction)."""
        total = Counts()
        for (version, _), counts in self.counts.items():
            if where(version):
                total = total.plus(counts.total)
        return total

    def as_json(self, fit: Fit) -> dict[str, Any]:
        """For scripts."""
        times = self.times()
        medians, ratio = times.medians(), times.ratio()
        return {
            "tasks": self.tasks,
            "left_out": dict(self.left_out),
            "weights": {
                **asdict(fit.weights),
                "fitted": list(fit.fitted),
                "seconds_an_object": fit.seconds,
            },
            "saved": self.total().saved(fit.weights),
            "saved_of_everything": self.total(lambda _: True).saved(fit.weights),
            "versions": [
                {"version": version or None, "control": control} | self.counts[version, control].as_json(fit.weights)
                for version, control in self.versions()
            ],
            "unseen": [
                {"version": version, "control": control} | counts.as_json(fit.weights)
                for (version, control), counts in self.unseen.items()
            ],
            "seconds": {
                "with_help": medians[0] if medians else None,
                "without_help": medians[1] if medians else None,
                "annotations_with_help": len(times.helped),
                "annotations_without_help": len(times.alone),
                "control_group": times.control_group,
                "ratio": ratio[1] if ratio else None,
                "ratio_80_percent": [ratio[0], ratio[2]] if ratio else None,
            },
        }


def version_of(model_version: str, control: str, controls: Collection[str] = ()) -> str:
    """The version of one control in Label Studio's model_version: `label:v12+poly:v3` → `v3`.

    "" if it is labelloop's and names only others of the project's `controls`: there was no prediction of this one. What
    is not labelloop's is answered whole; "no version" if it is empty.
    """
    names = "|".join([*map(re.escape, controls), "[^+:]+"])
    # Up to the next control: the name of base weights may hold a plus sign, too.
    found = re.search(rf"(?:^|\+){re.escape(control)}:([^:]+?)(?:\+(?:{names}):|$)", model_version)
    if not found and is_ours(model_version, controls):
        return ""
    return found[1] if found else model_version or "no version"


def _age(version: str) -> tuple[int, int, str]:
    number = re.fullmatch(r"v(\d+)", version)
    kind = 0 if not version else 1 if version.startswith("base-") else 2 if number else 3
    return kind, int(number[1]) if number else 0, version
