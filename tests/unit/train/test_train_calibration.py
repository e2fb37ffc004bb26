"""How likely what was found is right, by its confidence, and from which confidence on it pays to show it."""

import numpy as np
import pytest

from jobs.train.calibration import Calibration
from jobs.train.shown_choice import DELETE
from shared.geometry.detections import Floats

UNKNOWN = Calibration(saving=0.6)


def found(count: int, *, offset: float, slope: float) -> tuple[Floats, Floats]:
    """Confidences from 0.05 to 0.95, and what each saves: 0.6 if it is right, which is as likely as the line says."""
    random = np.random.default_rng(0)
    scores = random.uniform(0.05, 0.95, count)
    chance = 1 / (1 + np.exp(-(offset + slope * np.log(scores / (1 - scores)))))
    return scores, np.where(random.random(count) < chance, 0.6, -DELETE)


def test_confidences_are_chances_until_something_is_seen() -> None:
    assert UNKNOWN.pays_from(DELETE) == pytest.approx(0.25)
    assert UNKNOWN.fitted(np.zeros(0), np.zeros(0)) == UNKNOWN
    assert UNKNOWN.fitted(np.full(500, 0.005), np.full(500, -DELETE)) == UNKNOWN  # so faint that they say nothing


@pytest.mark.parametrize(("offset", "slope"), [(-2.0, 0.5), (0.0, 1.0), (1.0, 2.0)])
def test_a_model_that_is_too_sure_is_seen_through(offset: float, slope: float) -> None:
    one = UNKNOWN.fitted(*found(5000, offset=offset, slope=slope))
    assert (one.offset, one.slope) == pytest.approx((offset, slope), abs=0.15)
    assert one.saving == pytest.approx(0.6)
    true = Calibration(0.6, offset, slope).pays_from(DELETE)
    assert one.pays_from(DELETE) == pytest.approx(true, abs=0.05)


def test_the_less_is_seen_the_less_is_changed() -> None:
    scores, savings = found(500, offset=-3.0, slope=1.0)
    moved = [UNKNOWN.fitted(scores[:count], savings[:count]).offset for count in (0, 3, 30, 500)]
    assert moved == sorted(moved, reverse=True)
    assert moved[1] > -1.0 > moved[3]


@pytest.mark.parametrize("saving", [1.0, -DELETE])
def test_what_is_always_right_or_never_has_a_threshold_too(saving: float) -> None:
    one = UNKNOWN.fitted(np.linspace(0.05, 0.999999, 3000, dtype=np.float64), np.full(3000, saving))
    pays = one.pays_from(DELETE)
    assert np.isfinite([one.offset, one.slope]).all()
    assert (pays < 0.05) if saving > 0 else (pays > 0.95)


def test_objects_that_save_little_have_to_be_surer() -> None:
    assert Calibration(0.5).pays_from(DELETE) > Calibration(1.0).pays_from(DELETE)
