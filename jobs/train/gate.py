"""Whether a challenger may replace what is served. docs/gate.md has the experiment behind the rules. Pure."""

from dataclasses import dataclass

import numpy as np

from jobs.train.evidence import Evidence, ones
from shared.geometry.detections import Floats
from shared.state.registry import Gate

MAX_WORSE = 0.5
"""Probability of being worse above which a challenger is held back."""
COLLAPSE = 0.5
"""Part of the champion's score below which nobody asks how sure that is."""
_DRAWS = 1000  # of the bootstrap
_SEED = 0  # a second look at the same evidence says the same
_CHUNK = 50  # draws at once: memory


@dataclass(frozen=True, slots=True)
class Scored:
    """A model and what it showed."""

    name: str  # "v3", "base-yolo11n"; of the challenger anything
    version: int | None  # None: base weights
    evidence: Evidence


def judge(
    metric: str, challenger: Evidence, champion: Scored | None, *, why_no_champion: str, saved: float | None
) -> Gate:
    """The gate's decision. `saved`: part of an annotator's work that the challenger saves, if that was measured.

    Both must have shown the same tasks in the same order. What cannot be measured is no score: then the champion stays.
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
    """How many of the samples that could have been drawn instead of this val set show the challenger as the worse one.

    The paired bootstrap: both are scored on the same tasks, drawn with replacement (B. Efron 1979; P. Koehn 2004). A
    tie counts half. Samples in which one of them cannot be measured do not count; without any other it is 0.5.
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
