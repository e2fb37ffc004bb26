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
SURE = 0.95
"""The part of the samples between the bounds of an interval."""
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

    def decided(passed: bool, reason: str, of_champion: float | None = None, samples: Samples | None = None) -> Gate:
        known = samples or (Samples.of(challenger) if score > 0.0 else None)
        return Gate(
            metric=metric,
            challenger=None if np.isnan(score) else score,
            champion=of_champion,
            champion_version=version,
            against=against,
            worse=samples.worse if samples else None,
            interval=known.interval if known else None,
            gain=samples.gain if samples else None,
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
    samples = Samples.of(challenger, champion.evidence)
    worse = samples.worse
    compared = f"{metric} {score:.3f}, {champion.name} has {other:.3f} {place}"
    if score < COLLAPSE * other:
        return decided(False, f"less than half as good: {compared}", other, samples)
    if worse > MAX_WORSE:
        return decided(False, f"worse with a probability of {worse:.0%}: {compared}", other, samples)
    verdict = "better" if score > other else "not clearly worse" if score < other else "as good"
    return decided(True, f"{verdict} (worse with a probability of {worse:.0%}): {compared}", other, samples)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The scores of a challenger and of its champion on samples of the val set's tasks, drawn with replacement.

    The bootstrap: B. Efron 1979; paired, since both are scored on the same samples: P. Koehn 2004.
    """

    challenger: Floats  # (draws,) NaN where a sample cannot be measured
    champion: Floats | None  # None: there is none

    @classmethod
    def of(cls, challenger: Evidence, champion: Evidence | None = None, draws: int = _DRAWS) -> "Samples":
        """`champion`: with the same tasks in the same order."""
        assert champion is None or challenger.tasks == champion.tasks
        random = np.random.default_rng(_SEED)
        count = len(challenger.tasks)
        ours, theirs = list[Floats](), list[Floats]()
        for _ in range(0, draws, _CHUNK):
            weights = random.multinomial(count, np.full(count, 1 / count), size=_CHUNK).astype(np.float64)
            ours.append(challenger.score(weights))
            if champion is not None:
                theirs.append(champion.score(weights))
        return cls(np.concatenate(ours), np.concatenate(theirs) if theirs else None)

    @property
    def worse(self) -> float:
        """The probability, 0–1, that the challenger is worse than the champion.

        The part of the samples in which it scores less, a tie counting half. Samples in which one of the two cannot be
        measured do not count; 0.5 if none can.
        """
        known = self._difference()
        return float((known < 0).mean() + (known == 0).mean() / 2) if len(known) else 0.5

    @property
    def interval(self) -> tuple[float, float] | None:
        """The bounds of the challenger's score in SURE of the samples; None if none can be measured."""
        return _bounds(self.challenger[~np.isnan(self.challenger)])

    @property
    def gain(self) -> tuple[float, float] | None:
        """The bounds of challenger − champion in SURE of the samples; None without a champion."""
        return _bounds(self._difference())

    def _difference(self) -> Floats:
        if self.champion is None:
            return np.zeros(0)
        difference = self.challenger - self.champion
        known: Floats = difference[~np.isnan(difference)]
        return known


def _bounds(values: Floats) -> tuple[float, float] | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - SURE) / 2, (1 + SURE) / 2]).tolist()
    return low, high


def _missing(metric: str) -> str:
    if metric == "balanced accuracy":
        return "images of at least two classes are needed there; annotate more of the rarer ones"
    return "something annotated is needed there; annotate more tasks"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
