"""Which of the objects that are shown are right, class by class: the numbers of a report. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.train.evidence import IOUS, Classified, Evidence, Found, Outcome, ones
from jobs.train.shown_choice import kept
from shared.geometry.detections import Floats, Ints
from shared.state.versions import Shown

_CURVE = 41  # points of a precision-recall curve


def matches(outcome: Outcome, *, same_class: bool) -> Ints:
    """(F,) for each object found the annotated one that it matches at an IoU of 0.5, −1 for none.

    In order of confidence, as `Outcome.right`. `same_class`: only objects of its class; else of any, its own first.
    """
    same = outcome.truth[:, None] == outcome.found
    alike = np.where(outcome.overlap >= IOUS[0], outcome.overlap, 0.0)
    alike = alike * same if same_class else alike + (alike > 0) * same
    free = np.ones(len(outcome.truth), dtype=np.bool_)
    matched = np.full(len(outcome.found), -1, dtype=np.int64)
    for number in range(len(outcome.found)):
        column = np.where(free, alike[:, number], 0.0)
        if len(column) and column.max() > 0:
            matched[number] = best = int(column.argmax())
            free[best] = False
    return matched


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class on the val set, as it is shown. None: it cannot be measured."""

    class_: int
    annotated: int  # objects; of a classifier images
    images: int  # that hold one
    found: int  # objects that are shown
    precision: float | None  # 0–1
    recall: float | None
    score: float | None  # mAP50-95; of a classifier the same as recall


def class_rows(evidence: Evidence, shown: Mapping[int, Shown], classes: Sequence[int]) -> list[ClassRow]:
    """One row for each class; none for evidence of whole videos."""
    if isinstance(evidence, Classified):
        return [_guessed_row(evidence, class_) for class_ in classes]
    if not isinstance(evidence, Found) or not classes:
        return []
    precision = evidence.of(classes).average_precision(ones(evidence))[0].mean(axis=1)
    there, images, found, hits = (dict.fromkeys(classes, 0) for _ in range(4))
    for outcome in evidence.outcomes:
        visible = outcome.only(kept(outcome, shown))
        right = visible.right()[:, 0]
        for class_ in set(outcome.truth.tolist()) & there.keys():
            there[class_] += int((outcome.truth == class_).sum())
            images[class_] += 1
        for class_ in set(visible.found.tolist()) & there.keys():
            found[class_] += int((visible.found == class_).sum())
            hits[class_] += int(right[visible.found == class_].sum())
    return [
        ClassRow(
            class_,
            there[class_],
            images[class_],
            found[class_],
            hits[class_] / found[class_] if found[class_] else None,
            hits[class_] / there[class_] if there[class_] else None,
            None if np.isnan(precision[place]) else float(precision[place]),
        )
        for place, class_ in enumerate(classes)
    ]


def _guessed_row(evidence: Classified, class_: int) -> ClassRow:
    guessed, there = evidence.guessed == class_, evidence.truth[:, class_]
    hits, found, annotated = int((guessed & there).sum()), int(guessed.sum()), int(there.sum())
    recall = hits / annotated if annotated else None
    return ClassRow(class_, annotated, annotated, found, hits / found if found else None, recall, recall)


def curve(evidence: Found, classes: Sequence[int]) -> Floats:
    """(N, 2) recall and precision at an IoU of 0.5, over all these classes together; as few points as show it.

    Precision is made to fall, as for the average precision. Empty without an annotated object.
    """
    outcomes = evidence.outcomes
    scores = np.concatenate([each.scores for each in outcomes] or [np.zeros(0)])
    right = np.concatenate([each.right()[:, 0] for each in outcomes] or [np.zeros(0, dtype=np.bool_)])
    counted = np.isin(np.concatenate([each.found for each in outcomes] or [np.zeros(0, dtype=np.int64)]), classes)
    there = sum(int(np.isin(each.truth, classes).sum()) for each in outcomes)
    if not there:
        return np.zeros((0, 2))
    order = np.argsort(-scores[counted], kind="stable")
    hits = right[counted][order].cumsum()
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    recall = hits / there
    places = np.searchsorted(recall, np.linspace(0, recall[-1] if len(recall) else 0.0, _CURVE))
    chosen = np.unique(np.clip(places, 0, max(len(recall) - 1, 0)))[: len(recall)]
    points: Floats = np.stack([recall[chosen], precision[chosen]], axis=1) if len(recall) else np.zeros((0, 2))
    return points


def confusion(evidence: Evidence, shown: Mapping[int, Shown], classes: int) -> Ints | None:
    """(C + 1, C + 1) objects: annotated as row, shown as column; the last ones: nothing there, not found.

    Of a classifier: images, once for each of their classes that was not guessed, or the one that was. None for evidence
    of whole videos.
    """
    table = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    if isinstance(evidence, Classified):
        for row, guess in zip(evidence.truth, evidence.guessed.tolist(), strict=True):
            held = [guess] if guess >= 0 and row[guess] else np.flatnonzero(row).tolist()
            for class_ in held:
                table[class_, guess] += 1  # −1 is the last column
        return table
    if not isinstance(evidence, Found):
        return None
    for outcome in evidence.outcomes:
        visible = outcome.only(kept(outcome, shown))
        matched = matches(visible, same_class=False)
        missed = np.ones(len(outcome.truth), dtype=np.bool_)
        missed[matched[matched >= 0]] = False
        np.add.at(table, (np.where(matched >= 0, _taken(outcome.truth, matched), classes), visible.found), 1)
        np.add.at(table, (outcome.truth[missed], np.full(int(missed.sum()), classes)), 1)
    return table


def _taken(values: Ints, places: Ints) -> Ints:
    """`values[places]`, also of nothing."""
    return values[places] if len(values) else np.full(len(places), -1, dtype=np.int64)
