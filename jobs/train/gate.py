"""Decides whether a new version (the challenger) may replace the champion; docs/gate.md has the experiment. Pure."""

from dataclasses import dataclass

import numpy as np

from jobs.train.evidence import Evidence, ones
from shared.geometry.detections import Floats
from shared.state.versions import Gate

MAX_WORSE = 0.5
"""A challenger that is worse with more than this probability is rejected."""
COLLAPSE = 0.5
"""A challenger with less than this part of the champion's score is rejected, whatever the probability."""
_DRAWS = 1000  # samples of the bootstrap
_SEED = 0  # the same evidence always gives the same decision
_CHUNK = 50  # samples scored at once, to bound memory


@dataclass(frozen=True, slots=True)
class Scored:
    """A model and its evidence."""

    name: str  # "v3", "base-yolo11n"
    version: int | None  # None: base weights
    evidence: Evidence


def judge(
    metric: str, challenger: Evidence, champion: Scored | None, *, why_no_champion: str, saved: float | None
) -> Gate:
    """The gate's decision; a challenger that cannot be measured is rejected.

    `metric`: name of the score. `champion`: with the same tasks in the same order; None: then `why_no_champion` says
    why. `saved`: part of an annotator's work that the challenger saves; None if it was not measured.
    """
    objects = challenger.objects
    score = float(challenger.score(ones(challenger))[0])
    place = f"on {_count(len(challenger.tasks), 'task')} of the val set with {objects} annotated"
    against, version = (champion.name, champion.version) if champion else (None, None)

    def decided(passed: bool, reason: str, of_champion: float | None = None, worse: float | None = None) -> Gate:
        return Gate(
            metric=metric,
            challenger=None if np.isnan(score) else score,
            champion=of_champion,
            champion_version=version,
            against=against,
            worse=worse,
            tasks=len(challenger.tasks),
            things=objects,
            passed=passed,
            reason=reason,
        )

    if np.isnan(score):
        return decided(False, f"{metric} cannot be measured {place}: {_missing(metric)}")
    if score <= 0.0:
        return decided(False, f"it finds nothing right: {metric} is 0 {place}")
    if saved is not None and saved <= 0.0:
        return decided(False, f"it would cost more work than it saves ({metric} {score:.3f} {place})")
    if champion is None:
        return decided(True, f"{metric} {score:.3f} {place}; not compared: {why_no_champion}")
    other = float(champion.evidence.score(ones(champion.evidence))[0])
    if np.isnan(other):
        return decided(False, f"{metric} of {champion.name} cannot be measured {place}: {_missing(metric)}")
    worse = probably_worse(challenger, champion.evidence)
    compared = f"{metric} {score:.3f}, {champion.name} has {other:.3f} {place}"
    if score < COLLAPSE * other:
        return decided(False, f"less than half as good: {compared}", other, worse)
    if worse > MAX_WORSE:
        return decided(False, f"worse with a probability of {worse:.0%}: {compared}", other, worse)
    verdict = "better" if score > other else "not clearly worse" if score < other else "as good"
    return decided(True, f"{verdict} (worse with a probability of {worse:.0%}): {compared}", other, worse)


def probably_worse(challenger: Evidence, champion: Evidence, draws: int = _DRAWS) -> float:
    """The probability, 0–1, that the challenger is worse than the champion, by the paired bootstrap.

    Both are scored on `draws` samples of the same tasks, drawn with replacement (B. Efron 1979; P. Koehn 2004): the
    part of the samples in which the challenger scores less, a tie counting half. Samples in which one of the two cannot
    be measured do not count; 0.5 if none can.
    """
    assert challenger.tasks == champion.tasks
    random = np.random.default_rng(_SEED)
    count = len(challenger.tasks)
    differences: list[Floats] = []
    for _ in range(0, draws, _CHUNK):
        weights = random.multinomial(count, np.full(count, 1 / count), size=_CHUNK).astype(np.float64)
        differences.append(challenger.score(weights) - champion.score(weights))
    difference = np.concatenate(differences)
    known = difference[~np.isnan(difference)]
    if not len(known):
        return 0.5
    return float((known < 0).mean() + (known == 0).mean() / 2)


def _missing(metric: str) -> str:
    if metric == "balanced accuracy":
        return "images of at least two classes are needed there; annotate more of the rarer ones"
    return "something annotated is needed there; annotate more tasks"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
