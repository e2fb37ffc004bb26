"""Chooses each class's confidence and overlap (for suppression) that cost an annotator the least work. Pure.

Work: an object that was missed has to be drawn (1), an imprecise one moved (½), a wrong one deleted (0.2). bench/gate
is the experiment for the constants, docs/gate.md its results; docs/small-data.md for _SURE.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.train.calibration import Calibration
from jobs.train.evidence import IOUS, Outcome
from shared.geometry.detections import Floats, Ints
from shared.geometry.suppression import suppress_classes
from shared.state.versions import DEFAULT_SHOWN, Shown

ADD, MOVE, DELETE = 1.0, 0.5, 0.2
TIGHT = 0.8
"""IoU from which a person leaves a box as it is. From 0.5 on the box is moved; below that it is wrong."""
CONFIDENCES = np.round(np.arange(0.05, 0.96, 0.05), 2)
_NOTHING = 1.0  # a confidence that no model reaches: nothing is shown
OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
_DOUBT = 10.0
"""Number of objects in the val set at which their best overlap counts as much as the default."""
_SURE = 100.0
"""Number of objects of a class at which the confidence with the least work counts as much as the calibrated one."""
_UNKNOWN = Calibration(DELETE * (1 / DEFAULT_SHOWN.confidence - 1))
"""Before anything is seen: confidences are chances, and objects pay from the default confidence on."""


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """For one overlap: how much showing each of the F found objects adds to the work."""

    classes: Ints  # (F,)
    scores: Floats  # (F,)
    change: Floats  # (F,) −1 if exact (TIGHT), −0.5 if imprecise, +0.2 if wrong

    def work(self, class_: int, confidences: Floats) -> Floats:
        """(C,) confidences → (C,) work added by showing the class from each confidence on."""
        which = self.classes == class_
        order = np.argsort(self.scores[which])
        scores, change = self.scores[which][order], self.change[which][order]
        left = np.concatenate([change[::-1].cumsum()[::-1], [0.0]])
        return left[np.searchsorted(scores, confidences)]  # type: ignore[no-any-return]

    def calibrated(self, classes: Sequence[int], before: Calibration) -> Calibration:
        """By all objects of some classes; `before`: what is thought without them."""
        which = np.isin(self.classes, classes)
        return before.fitted(self.scores[which], -self.change[which])


def worth_of(outcomes: Sequence[Outcome], iou: float) -> Worth:
    """The Worth of all objects that remain after suppression at `iou`."""
    left = [outcome.without_duplicates(iou) for outcome in outcomes]
    right = [outcome.right() for outcome in left]
    loose = np.concatenate([one[:, 0] for one in right] or [np.zeros(0, dtype=np.bool_)])
    tight = np.concatenate(
        [one[:, int(np.searchsorted(IOUS, TIGHT - 1e-9))] for one in right] or [np.zeros(0, dtype=np.bool_)]
    )
    return Worth(
        np.concatenate([one.found for one in left] or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([one.scores for one in left] or [np.zeros(0)]),
        np.where(loose, np.where(tight, -ADD, MOVE - ADD), DELETE),
    )


def choose(outcomes: Sequence[Outcome], classes: Sequence[int], doubt: float = 1.0) -> dict[int, Shown]:
    """Class → its thresholds.

    The overlap with the least work is drawn towards the default, and each class's confidence with the least work
    towards the one from which its objects pay (`Calibration`, of a class drawn towards that of the others): the fewer
    objects the val set holds, the more. `doubt`: how much, as a part of _DOUBT and _SURE; 0: the least work on these
    outcomes. A class that would still cost more work than it saves gets the stricter confidence with the least work,
    1 (nothing is shown) if none saves any.
    """
    there = np.array([sum(int((outcome.truth == class_).sum()) for outcome in outcomes) for class_ in classes])
    iou = round(_between(DEFAULT_SHOWN.iou, _best_overlap(outcomes, classes), there.sum(), doubt * _DOUBT), 2)
    worth = worth_of(outcomes, iou)
    chosen = {}
    for class_, evidence in zip(classes, there, strict=True):
        others = worth.calibrated([each for each in classes if each != class_], _UNKNOWN)
        pays = worth.calibrated([class_], others).pays_from(DELETE)
        pays = float(np.clip(pays, CONFIDENCES[0], CONFIDENCES[-1]))
        least = float(CONFIDENCES[_middle(worth.work(class_, CONFIDENCES))])
        confidence = round(_between(pays, least, evidence, doubt * _SURE), 3)
        if worth.work(class_, np.array([confidence]))[0] > 0:
            stricter = np.append(CONFIDENCES[confidence <= CONFIDENCES], _NOTHING)
            confidence = float(stricter[int(worth.work(class_, stricter).argmin())])
        chosen[class_] = Shown(confidence=confidence, iou=iou)
    return chosen


def saved(outcomes: Sequence[Outcome], shown: dict[int, Shown]) -> Floats:
    """(outcomes, 2): annotated objects of these classes, and the work that is saved by showing what was found."""
    rows = np.zeros((len(outcomes), 2))
    by_iou: dict[float, list[int]] = {}
    for class_, each in shown.items():
        by_iou.setdefault(each.iou, []).append(class_)
    for number, outcome in enumerate(outcomes):
        rows[number, 0] = np.isin(outcome.truth, list(shown)).sum()
        for iou, classes in by_iou.items():
            worth = worth_of([outcome], iou)
            rows[number, 1] -= sum(
                float(worth.work(class_, np.array([shown[class_].confidence]))[0]) for class_ in classes
            )
    return rows


def as_shown(outcomes: Sequence[Outcome], shown: dict[int, Shown]) -> dict[str, float]:
    """precision and recall (at IoU 0.5) of the shown objects, and `saved`: the part of the work that they save.

    NaN where nothing is shown (precision) or annotated (the others).
    """
    there = found = hits = 0
    for outcome in outcomes:
        left = outcome.only(kept(outcome, shown))
        there += int(np.isin(outcome.truth, list(shown)).sum())
        found += len(left.found)
        hits += int(left.right()[:, 0].sum())
    rows = saved(outcomes, shown).sum(axis=0)
    return {
        "precision": hits / found if found else float("nan"),
        "recall": hits / there if there else float("nan"),
        "saved": float(rows[1] / rows[0]) if rows[0] else float("nan"),
    }


def kept(outcome: Outcome, shown: Mapping[int, Shown]) -> NDArray[np.bool_]:
    """(F,) which of the found objects are shown: confident enough, and hidden by no other one of their class."""
    confidence = np.array([shown[each].confidence if each in shown else np.inf for each in outcome.found.tolist()])
    remain = np.zeros(len(outcome.found), dtype=np.bool_)
    for iou in {each.iou for each in shown.values()}:
        of_iou = np.isin(outcome.found, [class_ for class_, each in shown.items() if each.iou == iou])
        remain |= of_iou & suppress_classes(outcome.boxes, outcome.scores, outcome.found, iou)
    return remain & (outcome.scores >= confidence)


def _best_overlap(outcomes: Sequence[Outcome], classes: Sequence[int]) -> float:
    """The one of OVERLAPS with the least work, all classes together from one confidence on."""
    worths = [worth_of(outcomes, iou) for iou in OVERLAPS]
    work = [np.sum([worth.work(class_, CONFIDENCES) for class_ in classes], axis=0).min() for worth in worths]
    return OVERLAPS[int(np.argmin(work))]


def _middle(work: Floats) -> int:
    """(N,) → index of the minimum; of equal ones the middle one."""
    best = np.flatnonzero(work <= work.min() + 1e-9)
    return int(best[len(best) // 2])


def _between(prior: float, found: float, evidence: float, doubt: float) -> float:
    part = float(evidence / (evidence + doubt)) if evidence else 0.0
    return prior + part * (found - prior)
