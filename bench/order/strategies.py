"""Which tiles to annotate next, by what a model finds on them. Pure."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.train.evidence import IOUS, Outcome
from jobs.train.shown_choice import DELETE, MOVE, TIGHT, kept
from shared.geometry.detections import Floats
from shared.prediction.score import image_score
from shared.state.versions import Shown

_LOOKING = 1.0
"""Work of opening a picture and looking at it, in drawn boxes."""
_DOUBT = 10.0  # objects of the val set that weigh as much as the prior


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the val tiles say of a model."""

    shown: Mapping[int, Shown]  # its thresholds
    loose: float  # part of the shown boxes that are right, but have to be moved
    recall: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], shown: Mapping[int, Shown]) -> "Evidence":
        """Half and a half, drawn towards what the val tiles say."""
        there, right, tight = 0, 0, 0
        for outcome in outcomes:
            hits = shown_of(outcome, shown).right()
            there += len(outcome.truth)
            right += int(hits[:, 0].sum())
            tight += int(hits[:, int(np.searchsorted(IOUS, TIGHT - 1e-9))].sum())
        return cls(shown, (right - tight + _DOUBT / 2) / (right + _DOUBT), (right + _DOUBT / 2) / (there + _DOUBT))


def shown_of(outcome: Outcome, shown: Mapping[int, Shown]) -> Outcome:
    """What an annotator is shown of it."""
    return outcome.only(kept(outcome, shown))


def entropies(scores: Floats) -> Floats:
    """(N,) confidences → (N,) entropies in nats of whether each object is there."""
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    found: Floats = -(inside * np.log(inside) + (1 - inside) * np.log(1 - inside))
    return found


def _mean_confidence(found: Outcome, evidence: Evidence) -> float:
    scores = shown_of(found, evidence.shown).scores
    return float(scores.sum() / max(len(scores), 1))


def _image_confidence(found: Outcome, evidence: Evidence) -> float:
    return image_score(shown_of(found, evidence.shown).scores.tolist(), found.scores.tolist())


def _least_confident(found: Outcome, evidence: Evidence) -> float:
    scores = shown_of(found, evidence.shown).scores
    return float(scores.min()) if len(scores) else 1.0 - float(found.scores.max(initial=0.0))


def _sum(found: Outcome, evidence: Evidence) -> float:
    return -float(entropies(found.without_duplicates(evidence.shown[0].iou).scores).sum())


def expected_work(found: Outcome, evidence: Evidence) -> float:
    """Of a picture, if confidences are probabilities: looking, moving, deleting, and drawing what is missed."""
    right = shown_of(found, evidence.shown).scores
    edits = right * evidence.loose * MOVE + (1 - right) * DELETE
    return float(_LOOKING + edits.sum() + right.sum() * (1 - evidence.recall) / evidence.recall)


def _sum_by_work(found: Outcome, evidence: Evidence) -> float:
    return _sum(found, evidence) / expected_work(found, evidence)


def _easy(found: Outcome, evidence: Evidence) -> float:
    return -_sum(found, evidence)


def _random(found: Outcome, _: Evidence) -> float:
    """No order, but always the same one."""
    return zlib.crc32(found.task.encode()) / 2**32


STRATEGIES: Mapping[str, Callable[[Outcome, Evidence], float]] = {
    "random": _random,
    "mean confidence": _mean_confidence,
    "image confidence": _image_confidence,
    "least confident": _least_confident,
    "sum": _sum,
    "sum by work": _sum_by_work,
    "easy first": _easy,
}
"""Name → the score of a picture, lowest first as Label Studio has it. Outcomes hold objects from 0.05 on.

"mean confidence" is what Label Studio's YOLO example answers, 0 without boxes; "image confidence" what predict does."""


def next_tiles(scores: Floats, count: int, embeddings: Floats | None, seed: int) -> list[int]:
    """Indices of the `count` tiles with the lowest scores; with (N, E) embeddings of the lowest one in each cluster.

    That is what Label Studio does: the cluster of which the fewest tasks are solved, in it the lowest score.
    """
    order = np.argsort(scores, kind="stable")
    if embeddings is None:
        return [int(place) for place in order[:count]]
    from scipy.cluster.vq import kmeans2

    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    _, clusters = kmeans2(unit, count, minit="++", seed=seed)
    taken: list[int] = []
    while len(taken) < count:
        seen: set[int] = set()
        for place in order.tolist():
            if place not in taken and clusters[place] not in seen and len(taken) < count:
                seen.add(clusters[place])
                taken.append(place)
    return taken
