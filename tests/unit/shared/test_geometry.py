"""Boxes between Label Studio and YOLO: tables, properties, and an independent computation of rotated boxes."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.geometry.detections import (
    clip_rotated,
    clip_xyxy,
    envelope,
    percent_to_xyxy,
    rotated_corners,
    xywhn_to_xyxy,
    xywhr_to_corners,
    xyxy_to_percent,
    xyxy_to_xywhn,
)

SIDES = st.integers(1, 20_000)


def row(*values: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([values], dtype=np.float64)


@st.composite
def boxes_inside(draw: st.DrawFn) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int, int]:
    width, height = draw(SIDES), draw(SIDES)
    fractions = [sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1)))) for _ in range(2)]
    (left, right), (top, bottom) = fractions
    return row(left * width, top * height, right * width, bottom * height), width, height


@pytest.mark.parametrize(
    ("xyxy", "percent"),
    [
        ((0, 0, 200, 100), (0, 0, 100, 100)),
        ((50, 25, 150, 75), (25, 25, 50, 50)),
        ((-20, -10, 100, 50), (0, 0, 50, 50)),
        ((100, 50, 900, 900), (50, 50, 50, 50)),
        ((300, 10, 400, 20), (100, 10, 0, 10)),
        ((20, 10, 20, 10), (10, 10, 0, 0)),
    ],
    ids=["whole image", "middle", "over the top left", "over the bottom right", "outside", "no area"],
)
def test_xyxy_to_percent_clips(xyxy: tuple[float, ...], percent: tuple[float, ...]) -> None:
    assert xyxy_to_percent(row(*xyxy), 200, 100).tolist() == [list(percent)]


@pytest.mark.parametrize(
    ("xyxy", "xywhn"),
    [
        ((0, 0, 200, 100), (0.5, 0.5, 1, 1)),
        ((50, 25, 150, 50), (0.5, 0.375, 0.5, 0.25)),
        ((-100, 0, 100, 100), (0, 0.5, 1, 1)),
        ((10, 10, 10, 10), (0.05, 0.1, 0, 0)),
    ],
)
def test_xywhn(xyxy: tuple[float, ...], xywhn: tuple[float, ...]) -> None:
    assert xyxy_to_xywhn(row(*xyxy), 200, 100).tolist() == [list(xywhn)]
    assert xywhn_to_xyxy(row(*xywhn), 200, 100) == pytest.approx(row(*xyxy))


@pytest.mark.parametrize("function", [xyxy_to_percent, percent_to_xyxy, xyxy_to_xywhn, xywhn_to_xyxy, clip_xyxy])
def test_no_boxes(function: Any) -> None:
    assert function(np.zeros((0, 4)), 10, 20).shape == (0, 4)
    assert envelope(rotated_corners(np.zeros((0, 4)), np.zeros(0))).shape == (0, 4)


@given(boxes_inside())
def test_round_trips(case: tuple[Any, int, int]) -> None:
    xyxy, width, height = case
    tolerance = 1e-9 * max(width, height)
    assert np.abs(percent_to_xyxy(xyxy_to_percent(xyxy, width, height), width, height) - xyxy).max() <= tolerance
    assert np.abs(xywhn_to_xyxy(xyxy_to_xywhn(xyxy, width, height), width, height) - xyxy).max() <= tolerance


@given(boxes_inside())
def test_percent_never_leaves_the_image(case: tuple[Any, int, int]) -> None:
    xyxy, width, height = case
    percent = xyxy_to_percent((xyxy - width / 2) * 3, width, height)
    assert (percent >= 0).all()
    assert (percent <= 100).all()
    assert (percent[:, :2] + percent[:, 2:] <= 100 + 1e-9).all()


@pytest.mark.parametrize(
    ("degrees", "corners"),
    [
        (0, [(10, 20), (40, 20), (40, 30), (10, 30)]),
        (90, [(10, 20), (10, 50), (0, 50), (0, 20)]),
        (180, [(10, 20), (-20, 20), (-20, 10), (10, 10)]),
        (270, [(10, 20), (10, -10), (20, -10), (20, 20)]),
    ],
)
def test_turned_clockwise_around_the_top_left_corner(degrees: float, corners: list[tuple[float, float]]) -> None:
    assert rotated_corners(row(10, 20, 40, 30), np.array([degrees], dtype=float))[0] == pytest.approx(np.array(corners))


@given(boxes_inside(), st.floats(-720, 720))
def test_envelope_of_a_turned_box(case: tuple[Any, int, int], degrees: float) -> None:
    """Computed by the sines of the angle and the signs of its quadrant, not by rotating corners."""
    xyxy, width, height = case
    left, top, right, bottom = xyxy[0]
    across, down = right - left, bottom - top
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    xs = [min(0.0, across * cos) + min(0.0, -down * sin), max(0.0, across * cos) + max(0.0, -down * sin)]
    ys = [min(0.0, across * sin) + min(0.0, down * cos), max(0.0, across * sin) + max(0.0, down * cos)]
    expected = [left + xs[0], top + ys[0], left + xs[1], top + ys[1]]
    found = envelope(rotated_corners(xyxy, np.array([degrees])))[0]
    assert np.abs(found - expected).max() <= 1e-9 * max(width, height, 1)


def test_rotated_boxes_outside_and_none() -> None:
    assert clip_rotated(row(300, 50, 40, 20, 0.3), 200, 100)[0, 2:4].tolist() == [0, 0]
    assert clip_rotated(np.zeros((0, 5)), 200, 100).shape == (0, 5)
    assert xywhr_to_corners(np.zeros((0, 5))).shape == (0, 4, 2)
