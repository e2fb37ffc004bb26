"""Finds annotations that look wrong to a model that was not trained on them: a hint for a person. Pure.

After ObjectLab (U. Tkachenko et al. 2023, arXiv 2309.00832): objects that were overlooked, that are in a bad place, or
have a swapped label; and annotations of nothing. Its fixed confidences (0.95, 0.5) are replaced by what is usual for a
class in this val set, since a model of few images is seldom sure, and what is listed first is what is rarest there.
docs/suspects.md says how many planted errors are found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from jobs.train.evidence import Classified, Outcome
from jobs.train.yolo.overlaps import box_overlaps
from shared.geometry.detections import Floats, envelope, xywhr_to_corners
from shared.geometry.suppression import suppress

Kind = Literal["missing", "spurious", "swapped", "loose"]

_SAME = 0.5  # overlap from which a found object is the annotated one
_TOUCHING = 0.1  # up to which it says nothing of it
_APART = 0.3  # up to which it may be an object of its own
_FEW = 5  # confirmed objects of a class, below which those of all classes say what is usual
_TIGHT = (0.4, 0.7)
"""Overlap below which an annotated object is surely not in the place of the found one, and above which it surely is."""
_BACKED = 0.5  # part of a class's usual confidence from which an annotated object is not doubted
_UNSURE = 0.1  # part of a class's usual confidence that is too little to say anything
_ORDER = ("swapped", "loose", "spurious", "missing")  # of equal ones
_RARE = 0.05  # part of the annotated objects that may look as suspicious, at most


@dataclass(frozen=True, slots=True)
class Dispute:
    """One annotated object, or one that is missing, that looks wrong."""

    kind: Kind
    severity: float  # of what the model says against it: higher is worse; comparable within a kind only
    picture: int  # index of the outcome, or of the image that was classified
    annotated: int | None  # index of the annotated object, of a classifier its class; None: missing
    found: int | None  # index of the found object, of a classifier its class; None: nothing was found there
    rarity: float = 0.0  # 0–1: how few of the annotated objects look as suspicious; 0 until they are compared


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """An outcome, with what is compared."""

    outcome: Outcome
    upright: Floats  # (F, 4) around the found objects
    overlap: Floats  # (T, F)
    confidence: Floats  # (F,) divided by the median of the confirmed objects of its class


def disputes(outcomes: Sequence[Outcome], classes: Sequence[int], *, by_boxes: bool = False) -> list[Dispute]:
    """What looks wrong in the annotations of a val set, most suspicious first.

    `classes`: those that the model knows; of objects of others nothing is said. `by_boxes`: the overlap is that of the
    boxes, whatever the objects' shapes.
    """
    usual = _usual(outcomes, classes)
    if not usual:
        return []
    pictures = [_picture(outcome, usual, by_boxes=by_boxes) for outcome in outcomes]
    found: dict[Kind, list[Dispute]] = {"missing": [], "spurious": [], "swapped": [], "loose": []}
    for number, picture in enumerate(pictures):
        for one in (*_of_annotated(number, picture, usual), *_of_missing(number, picture)):
            found[one.kind].append(one)
    objects = sum(int(np.isin(outcome.truth, classes).sum()) for outcome in outcomes)
    return _rarest([one for each in found.values() for one in _ranked(each, objects)])


def disputed_choices(evidence: Classified, classes: Sequence[int]) -> list[Dispute]:
    """Images whose class looks swapped, most suspicious first, by confident learning (C. Northcutt et al. 2021).

    The model is sure of another class if it is at least as sure as it is, on average, in images of that class.
    """
    chances, truth = evidence.chances, evidence.truth
    known = [class_ for class_ in classes if truth[:, class_].any()]
    if chances is None or len(known) < 2:
        return []
    usual = {class_: float(chances[truth[:, class_], class_].mean()) for class_ in known}
    doubts = []
    for number, (row, chance) in enumerate(zip(truth, chances, strict=True)):
        given = np.flatnonzero(row).tolist()
        others = [class_ for class_ in known if not row[class_] and chance[class_] >= usual[class_]]
        if given and others and set(given) <= set(known):
            own, other = (max(some, key=lambda class_: float(chance[class_])) for some in (given, others))
            if (margin := float(chance[other] - chance[own])) > 0:
                doubts.append(Dispute("swapped", margin, number, own, other))
    return _rarest(_ranked(doubts, len(truth)))


def _usual(outcomes: Sequence[Outcome], classes: Sequence[int]) -> dict[int, float]:
    """Class → the median confidence of its found objects that are annotated, too; of all classes where those are few.

    Empty if there is none.
    """
    hits = [(outcome.found[right], outcome.scores[right]) for outcome in outcomes for right in [outcome.right()[:, 0]]]
    found, scores = (np.concatenate([hit[column] for hit in hits] or [np.zeros(0)]) for column in (0, 1))
    known = np.isin(found, classes)
    if not known.any():
        return {}
    together = float(np.median(scores[known]))
    own = {class_: scores[found == class_] for class_ in classes}
    return {class_: float(np.median(each)) if len(each) >= _FEW else together for class_, each in own.items()}


def _picture(outcome: Outcome, usual: Mapping[int, float], *, by_boxes: bool) -> _Picture:
    assert outcome.annotated is not None
    truth, upright = (_upright(boxes) for boxes in (outcome.annotated, outcome.boxes))
    overlap = box_overlaps(truth, upright) if by_boxes else outcome.overlap
    confidence = np.array(
        [
            score / usual[class_] if class_ in usual else 0.0
            for class_, score in zip(outcome.found.tolist(), outcome.scores.tolist(), strict=True)
        ]
    )
    return _Picture(outcome, upright, overlap, confidence)


def _of_annotated(number: int, picture: _Picture, usual: Mapping[int, float]) -> Iterator[Dispute]:
    """What can be said against each annotated object."""
    nearest = picture.overlap == picture.overlap.max(axis=0, initial=0.0)  # neighbours say nothing of each other
    for index, class_ in enumerate(picture.outcome.truth.tolist()):
        if class_ not in usual:
            continue
        overlap, confidence, own = picture.overlap[index], picture.confidence, picture.outcome.found == class_
        there = confidence * _from(overlap, _TOUCHING, _SAME)
        if (most := float(there.max(initial=0.0))) < _BACKED:
            yield Dispute("spurious", -most, number, index, None)
        others, ours = np.where(own | ~nearest[index], 0.0, there), float(there[own].max(initial=0.0))
        if (other := float(others.max(initial=0.0))) > max(ours, _UNSURE):
            severity = (other - ours) / (other + ours + _UNSURE)
            yield Dispute("swapped", severity, number, index, int(others.argmax()))
        near = confidence * own * nearest[index] * (overlap > _TOUCHING)
        tight = float((near * _from(overlap, *_TIGHT)).max(initial=0.0))
        if (most := float(near.max(initial=0.0))) > max(tight, _UNSURE):
            yield Dispute("loose", (most - tight) / (most + _UNSURE), number, index, int(near.argmax()))


def _of_missing(number: int, picture: _Picture) -> Iterator[Dispute]:
    """Objects of which the model is as sure as of half of those that are annotated, where nothing is."""
    sure = np.flatnonzero(picture.confidence >= 1)
    first = sure[suppress(picture.upright[sure], picture.confidence[sure], _SAME)]  # of any class
    taken = picture.overlap.max(axis=0, initial=0.0)
    for place in first[taken[first] < _APART].tolist():
        severity = float(picture.confidence[place] * (1 - taken[place]))
        yield Dispute("missing", severity, number, None, place)


def _ranked(doubts: Sequence[Dispute], objects: int) -> list[Dispute]:
    """The disputes of one kind that are rare among so many annotated objects, with their rarity."""
    severities = np.sort([doubt.severity for doubt in doubts])
    ranked = []
    for doubt in doubts:
        as_much = len(severities) - int(np.searchsorted(severities, doubt.severity))
        if as_much <= max(_RARE * objects, 1):
            ranked.append(replace(doubt, rarity=1 - as_much / max(objects, as_much)))
    return ranked


def _rarest(ranked: Sequence[Dispute]) -> list[Dispute]:
    """Most suspicious first; of what is said of one annotated object the rarest."""
    best: dict[tuple[int, int], Dispute] = {}
    for one in sorted(ranked, key=lambda each: (-each.rarity, _ORDER.index(each.kind))):
        best.setdefault((one.picture, -1 - (one.found or 0) if one.annotated is None else one.annotated), one)
    return list(best.values())


def _from(overlap: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high` on."""
    part: Floats = np.clip((overlap - low) / (high - low), 0.0, 1.0)
    return part


def _upright(boxes: Floats) -> Floats:
    return envelope(xywhr_to_corners(boxes)) if boxes.shape[1:] == (5,) else boxes
