"""From which confidence objects are shown, and above which overlap two are one: by an annotator's least work. Pure.

An object that nobody found has to be drawn (1), a loose one moved (½), a wrong one deleted (0.2). bench/gate has the
experiment behind the numbers, docs/gate.md what came out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.train.evidence import IOUS, Outcome
from shared.geometry.detections import Floats, Ints
from shared.state.registry import DEFAULT_SHOWN, Shown

ADD, MOVE, DELETE = 1.0, 0.5, 0.2
TIGHT = 0.8
"""Overlap from which a person leaves a box as it is; from 0.5 on it is moved, below it is another thing."""
CONFIDENCES = np.round(np.arange(0.05, 0.96, 0.05), 2)
_NOTHING = 1.0  # no model is so sure
OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
_DOUBT = 10.0
"""Things of the val set that weigh as much as the defaults do."""


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What showing each object found would change in the work, for one overlap."""

    classes: Ints  # (F,)
    scores: Floats  # (F,)
    change: Floats  # (F,) −1 a tight one, −0.5 a loose one, +0.2 a wrong one

    def work(self, class_: int, confidences: Floats) -> Floats:
        """(C,) what showing a class from each confidence on changes."""
        which = self.classes == class_
        order = np.argsort(self.scores[which])
        scores, change = self.scores[which][order], self.change[which][order]
        left = np.concatenate([change[::-1].cumsum()[::-1], [0.0]])
        return left[np.searchsorted(scores, confidences)]  # type: ignore[no-any-return]


def worth_of(outcomes: Sequence[Outcome], iou: float) -> Worth:
    """Of all objects found that remain when those that overlap by more than `iou` are one."""
    left = [outcome.without_twins(iou) for outcome in outcomes]
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


def choose(outcomes: Sequence[Outcome], classes: Sequence[int], doubt: float = _DOUBT) -> dict[int, Shown]:
    """Class → what is shown of it. Shrunk twice: a class towards all classes, and those towards the defaults.

    What would cost more work than it saves even so is shown from where it does not; that may be nothing.
    """
    worths = {iou: worth_of(outcomes, iou) for iou in OVERLAPS}
    work = {iou: np.stack([worth.work(class_, CONFIDENCES) for class_ in classes]) for iou, worth in worths.items()}
    there = np.array([sum(int((outcome.truth == class_).sum()) for outcome in outcomes) for class_ in classes])
    together = np.stack([work[iou].sum(axis=0) for iou in OVERLAPS])  # (overlaps, confidences)
    iou, confidence = _least(together)
    overall = _between(DEFAULT_SHOWN, Shown(confidence=confidence, iou=iou), there.sum(), doubt)
    nearest = min(OVERLAPS, key=lambda each: abs(each - overall.iou))
    chosen = {}
    final = worth_of(outcomes, overall.iou)
    for number, class_ in enumerate(classes):
        own = float(CONFIDENCES[_middle(work[nearest][number])])
        each = _between(overall, Shown(confidence=own, iou=overall.iou), there[number], doubt)
        if final.work(class_, np.array([each.confidence]))[0] > 0:
            stricter = np.append(CONFIDENCES[each.confidence <= CONFIDENCES], _NOTHING)
            place = int(final.work(class_, stricter).argmin())
            each = Shown(confidence=float(stricter[place]), iou=overall.iou)
        chosen[class_] = each
    return chosen


def saved(outcomes: Sequence[Outcome], shown: dict[int, Shown]) -> Floats:
    """(outcomes, 2) objects there of these classes, and the work that showing what was found leaves out."""
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
    """precision and recall (overlap from 0.5) of what is shown, and the part of the work that it `saved`.

    NaN where nothing is shown, or there.
    """
    there = found = hits = 0
    for outcome in outcomes:
        for class_, each in shown.items():
            left = visible(outcome.without_twins(each.iou), {class_: each})
            there += int((outcome.truth == class_).sum())
            found += len(left.found)
            hits += int(left.right()[:, 0].sum())
    rows = saved(outcomes, shown).sum(axis=0)
    return {
        "precision": hits / found if found else float("nan"),
        "recall": hits / there if there else float("nan"),
        "saved": float(rows[1] / rows[0]) if rows[0] else float("nan"),
    }


def visible(outcome: Outcome, shown: dict[int, Shown]) -> Outcome:
    """What of a picture's objects is shown."""
    confidence = np.array(
        [shown[int(class_)].confidence if int(class_) in shown else np.inf for class_ in outcome.found]
    )
    return outcome.only(outcome.scores >= confidence)


def _least(work: Floats) -> tuple[float, float]:
    """(overlaps, confidences) work → the overlap and the confidence where it is least."""
    row = int(work.min(axis=1).argmin())
    return OVERLAPS[row], float(CONFIDENCES[_middle(work[row])])


def _middle(work: Floats) -> int:
    """The middle one of those that are as good as the best."""
    best = np.flatnonzero(work <= work.min() + 1e-9)
    return int(best[len(best) // 2])


def _between(prior: Shown, found: Shown, evidence: float, doubt: float) -> Shown:
    part = float(evidence / (evidence + doubt)) if evidence else 0.0
    return Shown(
        confidence=round(prior.confidence + part * (found.confidence - prior.confidence), 3),
        iou=round(prior.iou + part * (found.iou - prior.iou), 2),
    )
