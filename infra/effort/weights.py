"""What one edit costs, fitted on the time that annotations took. Pure.

Label Studio stores `lead_time`: the seconds that the page was open, pauses included. The model:

    seconds = speed of the annotator · (a + k · kept + m · moved + r · relabelled + d · deleted + n · added + s · smart)

None of the seven is negative: each step is a non-negative least squares (C. Lawson and R. Hanson, 1974) of relative
errors. What is far longer than the rest, as after a pause, loses its influence (J. Tukey's biweight).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infra.effort.counts import DEFAULT_WEIGHTS, Weights
from shared.geometry.detections import Floats

FEWEST = 150
"""Annotations with a time, below which nothing is fitted."""
SOME = 30
"""Edits of a kind, below which its weight is not fitted."""
SURE = 0.08
"""The largest standard error of a weight that counts as enough evidence.

With these three, the weights of simulated annotators (tests/unit/effort) are found to 0.06 on average and to 0.11 nine
times out of ten; the defaults are off by 0.14 and 0.27.
"""
_STEPS = 8
_DRAWS = 40  # bootstrap samples (B. Efron, 1979)
_PATIENCE = 4.7  # times the usual error, from which a time has no influence
_FITTED = ("moved", "relabelled", "deleted", "smart")
_COLUMNS = {"moved": 2, "relabelled": 3, "deleted": 4, "added": 5, "smart": 6}


class Timed(NamedTuple):
    """One annotation: how long it took, and whose it is."""

    annotator: int
    seconds: float
    kept: int
    moved: int
    relabelled: int
    deleted: int
    added: int
    smart: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights, and why they are what they are."""

    weights: Weights
    fitted: tuple[str, ...]  # names of the weights that are not the defaults
    why: str  # one sentence for a person
    seconds: float | None = None  # that adding an object takes an annotator of middle speed; None: not known


def fit_weights(timed: Sequence[Timed], seed: int = 0) -> Fit:
    """The weights of `timed` where there is enough evidence, of each kind of edit by itself; else the defaults."""
    if len(timed) < FEWEST:
        why = f"usual weights: {len(timed)} annotations have a time, {FEWEST} would tell"
        return Fit(DEFAULT_WEIGHTS, (), why)
    table = np.array(timed, dtype=np.float64)
    _, whose = np.unique(table[:, 0], return_inverse=True)
    costs = _costs(table, whose)
    if table[:, 6].sum() < SOME or costs[_COLUMNS["added"]] <= 0:
        return Fit(DEFAULT_WEIGHTS, (), "usual weights: too few objects were added to tell what one takes")
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(_DRAWS):
        which = random.integers(0, len(table), len(table))
        drawn = _costs(table[which], whose[which])
        draws.append(drawn / max(drawn[_COLUMNS["added"]], 1e-9))
    errors = np.std(draws, axis=0)
    found = {
        name: float(costs[_COLUMNS[name]] / costs[_COLUMNS["added"]])
        for name in _FITTED
        if table[:, _COLUMNS[name] + 1].sum() >= SOME and errors[_COLUMNS[name]] <= SURE
    }
    if not found:
        return Fit(DEFAULT_WEIGHTS, (), f"usual weights: the times of {len(timed)} annotations do not tell them yet")
    used = table[:, _COLUMNS["smart"] + 1].any()
    usual = [name for name in _FITTED if name not in found and (used or name != "smart")]
    why = f"weights fitted on the times of {len(timed)} annotations" + (f", but {', '.join(usual)}" if usual else "")
    return Fit(Weights(**found), tuple(found), why, float(costs[_COLUMNS["added"]]))


def _costs(table: Floats, whose: NDArray[np.int64]) -> Floats:
    """(N, 8) rows of Timed, (N,) numbers of annotators → (7,) seconds: an image, and one object of each kind."""
    from scipy.optimize import nnls

    seconds = np.maximum(table[:, 1], 1e-3)
    done = np.hstack([np.ones((len(table), 1)), table[:, 2:]])
    default = DEFAULT_WEIGHTS
    usual = np.array([1.0, 0.0, default.moved, default.relabelled, default.deleted, default.added, default.smart])
    expected = done @ usual
    expected *= np.median(seconds / expected)
    costs = usual
    for _ in range(_STEPS):
        speeds = np.ones(whose.max() + 1)
        for annotator in range(len(speeds)):
            ratios = (seconds / expected)[whose == annotator]
            speeds[annotator] = np.median(ratios) if len(ratios) else 1.0
        speed = speeds[whose] / np.median(speeds[whose])
        off = seconds / speed / expected - 1.0
        usual_error = max(1.4826 * float(np.median(np.abs(off - np.median(off)))), 0.01)
        trust = np.clip(1.0 - (off / (_PATIENCE * usual_error)) ** 2, 0.0, 1.0)  # the square root of the biweight
        rows = trust / expected
        costs, _ = nnls(done * rows[:, None], seconds / speed * rows)
        expected = np.maximum(done @ costs, 0.1 * np.median(seconds))
    return np.asarray(costs, dtype=np.float64)
