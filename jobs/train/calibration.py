"""From which confidence showing a model's objects pays, by all that it found on a val set. Pure.

The threshold with the least work on a few pictures hangs on the few objects beside it. A line through all of them does
not: how likely an object is right follows from its confidence by logistic regression (J. Platt 1999), and objects pay
from the confidence on at which those that are right save what those that are wrong cost.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats

_OFFSET_SPREAD, _SLOPE_SPREAD = 1.0, 0.5
"""Standard deviations of a calibration about the one it begins with; from a half to twice of both nothing changed."""
_SAVING_DOUBT = 10.0  # objects that are right, at which what they save counts as much as what was thought before
_FAINT = 0.02  # confidence of objects that say nothing of those that may be shown
_LEAST_SLOPE = 0.05  # where sure objects are right no more often than others
_STEPS, _NEAR, _FAR = 100, 1e-6, 1.0  # of Newton's method: how many, and the shortest and the longest one


@dataclass(frozen=True, slots=True)
class Calibration:
    """The chance that an object is right is sigmoid(offset + slope · logit(confidence))."""

    saving: float  # of an object that is right, on average, in drawn objects
    offset: float = 0.0
    slope: float = 1.0

    def pays_from(self, cost: float) -> float:
        """The confidence, 0–1, from which objects save work; `cost`: of one that is wrong, above 0."""
        needed = cost / (self.saving + cost)
        log_odds = (np.log(needed / (1 - needed)) - self.offset) / max(self.slope, _LEAST_SLOPE)
        return float(_sigmoid(np.array(log_odds)))

    def fitted(self, scores: Floats, savings: Floats) -> "Calibration":
        """Drawn towards what was found. `scores`: (N,) confidences. `savings`: (N,) of those that are right above 0."""
        seen = scores >= _FAINT
        right = savings[seen] > 0
        spared = savings[seen][right].sum() + _SAVING_DOUBT * self.saving
        offset, slope = self._line(_logit(scores[seen]), right)
        return Calibration(float(spared / (right.sum() + _SAVING_DOUBT)), offset, slope)

    def _line(self, log_odds: Floats, right: NDArray[np.bool_]) -> tuple[float, float]:
        """(offset, slope) that are likeliest, if normally distributed about this one's. By Newton's method."""
        inputs = np.stack([np.ones(len(log_odds)), log_odds])
        before, sureness = np.array([self.offset, self.slope]), np.array([_OFFSET_SPREAD, _SLOPE_SPREAD]) ** -2.0
        line = before.copy()
        for _ in range(_STEPS):
            chance = _sigmoid(line @ inputs)
            uphill = inputs @ (right - chance) - sureness * (line - before)
            bend = (inputs * (chance * (1 - chance))) @ inputs.T + np.diag(sureness)
            step = np.linalg.solve(bend, uphill)
            length = float(np.abs(step).max())
            line += step / max(length / _FAR, 1.0)
            if length < _NEAR:
                break
        return float(line[0]), float(line[1])


def _logit(chances: Floats) -> Floats:
    kept = np.clip(chances, 1e-6, 1 - 1e-6)
    log_odds: Floats = np.log(kept / (1 - kept))
    return log_odds


def _sigmoid(log_odds: Floats) -> Floats:
    chances: Floats = 1 / (1 + np.exp(-np.clip(log_odds, -50.0, 50.0)))
    return chances
