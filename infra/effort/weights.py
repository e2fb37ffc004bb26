"""What one edit costs, fitted on the time that annotations took. Pure.

Label Studio stores `lead_time`: the seconds that the page was open, pauses included. The model:

    seconds = speed of the annotator · (a + k · kept + m · moved + r · relabelled + d · deleted + n · added + s · smart)

None of the seven is negative: each step is a non-negative least squares (C. Lawson and R. Hanson, 1974) of relative
errors. What is far longer than the rest, as after a pause, loses its influence (J. Tukey's biweight).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infra.effort.counts import DEFAULT_WEIGHTS, Weights
from infra.effort.edits import KINDS, Kind
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
_FITTED: tuple[Kind, ...] = ("moved", "relabelled", "deleted", "smart")
_COLUMN = {kind: place for place, kind in enumerate(KINDS, start=1)}  # of the table; column 0 counts the image


class Timed(NamedTuple):
    """One annotation: how long it took, whose it is, and how many objects were edited in which way."""

    annotator: int
    seconds: float
    edits: Mapping[Kind, int]


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights, and why they are what they are."""

    weights: Weights
    fitted: tuple[str, ...]  # names of the weights that are not the defaults
    why: str  # one sentence for a person
    seconds: float | None = None  # that adding an object takes an annotator of middle speed; None: not known


def fit_weights(timed: Sequence[Timed]) -> Fit:
    """The weights of `timed` where there is enough evidence, of each kind of edit by itself; else the defaults."""
    if len(timed) < FEWEST:
        why = f"usual weights: {len(timed)} annotations have a time, {FEWEST} would tell"
        return Fit(DEFAULT_WEIGHTS, (), why)
    seconds = np.array([one.seconds for one in timed])
    table = np.array([[1, *(one.edits.get(kind, 0) for kind in KINDS)] for one in timed], dtype=np.float64)
    _, whose = np.unique([one.annotator for one in timed], return_inverse=True)
    costs = _costs(seconds, table, whose)
    done, added = dict(zip(KINDS, table.sum(axis=0)[1:], strict=True)), costs[_COLUMN["added"]]
    if done["added"] < SOME or added <= 0:
        return Fit(DEFAULT_WEIGHTS, (), "usual weights: too few objects were added to tell what one takes")
    random = np.random.default_rng(0)
    draws = []
    for _ in range(_DRAWS):
        which = random.integers(0, len(table), len(table))
        drawn = _costs(seconds[which], table[which], whose[which])
        draws.append(drawn / max(drawn[_COLUMN["added"]], 1e-9))
    errors = np.std(draws, axis=0)
    found = {
        kind: float(costs[_COLUMN[kind]] / added)
        for kind in _FITTED
        if done[kind] >= SOME and errors[_COLUMN[kind]] <= SURE
    }
    if not found:
        return Fit(DEFAULT_WEIGHTS, (), f"usual weights: the times of {len(timed)} annotations do not tell them yet")
    usual = [kind for kind in _FITTED if kind not in found and (done["smart"] or kind != "smart")]
    why = f"weights fitted on the times of {len(timed)} annotations" + (f", but {', '.join(usual)}" if usual else "")
    return Fit(Weights(**found), tuple(found), why, float(added))


def _costs(seconds: Floats, table: Floats, whose: NDArray[np.int64]) -> Floats:
    """The seconds that an image takes, and one object of each kind of edit: (1 + kinds,).

    `seconds`: (N,) of annotations. `table`: (N, 1 + kinds), a 1 and the objects. `whose`: (N,) numbers of annotators.
    """
    from scipy.optimize import nnls

    seconds = np.maximum(seconds, 1e-3)
    usual = np.array([1.0, *(getattr(DEFAULT_WEIGHTS, kind, 0.0) for kind in KINDS)])
    expected = table @ usual
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
        costs, _ = nnls(table * rows[:, None], seconds / speed * rows)
        expected = np.maximum(table @ costs, 0.1 * np.median(seconds))
    return np.asarray(costs, dtype=np.float64)
