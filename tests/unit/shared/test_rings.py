"""Rings: parts and holes, joining, clipping, fitting; areas are compared by their pixels."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.geometry.detections import Floats, Outline
from shared.geometry.outlines import mask_to_outline
from shared.geometry.rings import clip_outline, common_part, join_rings, outline_to_ellipse, parts_of, signed_area
from tests.samples.shapes import Mask, painted

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=10))
EIGHTHS = st.integers(-240, 400)
POINTS = st.lists(st.tuples(EIGHTHS, EIGHTHS), min_size=3, max_size=8)


def square(left: float, top: float, side: float) -> Floats:
    return np.array([[left, top], [left + side, top], [left + side, top + side], [left, top + side]])


def test_signed_area() -> None:
    assert signed_area(square(3, 4, 5)) == 25
    assert signed_area(square(3, 4, 5)[::-1]) == -25


def test_parts_with_their_holes_and_an_island_in_a_hole() -> None:
    rings = [square(40, 40, 10), square(30, 30, 40), square(20, 20, 60), square(100, 0, 20), square(105, 5, 5)]
    parts = parts_of(tuple(ring[::-1] for ring in rings))
    assert [[signed_area(ring) for ring in part] for part in parts] == [[3600, -1600], [400, -25], [100]]


def test_a_hole_between_pixels_that_touch_by_their_corners() -> None:
    ((outer, hole),) = parts_of(mask_to_outline(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.uint8)))
    assert (signed_area(outer), signed_area(hole)) == (5, -1)


@given(st.lists(POINTS, max_size=5))
def test_rings_that_cross_are_parts_or_holes_somehow(rings: list[list[tuple[int, int]]]) -> None:
    outline = tuple(np.array(ring, dtype=np.float64) for ring in rings)
    assert sum(map(len, parts_of(outline))) == len(outline)


@given(MASKS)
def test_parts_are_all_there_is(mask: Mask) -> None:
    height, width = mask.shape
    parts = parts_of(mask_to_outline(mask))
    together = [painted(part, width, height) for part in parts]
    assert (sum(together, np.zeros_like(mask)) == mask).all()
    assert all(part[0] is not None and signed_area(part[0]) > 0 for part in parts)
    assert all(signed_area(hole) < 0 for part in parts for hole in part[1:])


@given(MASKS)
def test_joined_rings_have_the_same_inside(mask: Mask) -> None:
    height, width = mask.shape
    for outline in (mask_to_outline(mask), *parts_of(mask_to_outline(mask))):
        if outline:
            joined = join_rings(outline)
            assert (painted((joined,), width, height) == painted(outline, width, height)).all()
            assert signed_area(joined) == pytest.approx(sum(map(signed_area, outline)))


def test_rings_of_very_many_points_are_joined_in_bounded_memory() -> None:
    angle = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    tracemalloc.start()
    joined = join_rings((circle * 90 + 100, circle[::-1] * 50 + 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    assert len(joined) == 100_002
    assert np.hypot(*np.diff(joined, axis=0).T).max() < 41  # the bridge: a way of 40 pixels


@given(st.lists(POINTS, max_size=3))
def test_clipping_keeps_what_is_inside(rings: list[list[tuple[int, int]]]) -> None:
    outline = tuple(np.array(ring) / 8 + (0.0137, 0.0271) for ring in rings)  # so that none meets a pixel's middle
    clipped = clip_outline(outline, 20, 10)
    moved: Outline = tuple(ring + 30 for ring in outline)  # painting cuts at the border, too: paint a greater image
    assert (painted(clipped, 20, 10) == painted(moved, 80, 80)[30:40, 30:50]).all()
    for ring in clipped:
        assert (ring >= 0).all()
        assert (ring <= [20, 10]).all()


def test_clipping_leaves_rings_inside_as_they_are() -> None:
    ring = square(0, 0, 10)
    assert clip_outline((ring,), 20, 10)[0] is ring


@pytest.mark.parametrize(
    "ring", [square(30, 0, 5), square(20, 0, 5), square(1, 1, 0), square(np.nan, 1, 2), square(1, 1, np.inf)]
)
def test_rings_without_area_in_the_image_are_left_out(ring: Floats) -> None:
    assert clip_outline((ring,), 20, 10) == ()


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 179])
@pytest.mark.parametrize(("width", "height"), [(80, 30), (30, 80), (50, 50), (2, 1)])
def test_the_ellipse_of_an_ellipse(width: float, height: float, degrees: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    along = np.stack([np.cos(angle) * width / 2, np.sin(angle) * height / 2], axis=1)
    radians = np.deg2rad(degrees)
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    x, y, across, down, found = outline_to_ellipse((along @ turn + (5000, 3000),))
    assert (x, y) == pytest.approx((5000, 3000), abs=1e-2)
    assert (across, down) == pytest.approx((max(width, height), min(width, height)), rel=1e-3)
    if width != height:
        away = (np.rad2deg(found) - degrees - (90 if height > width else 0)) % 180
        assert min(away, 180 - away) < 0.1


def test_holes_do_not_move_an_ellipse() -> None:
    whole = outline_to_ellipse((square(0, 0, 10),))
    assert outline_to_ellipse((square(0, 0, 10), square(1, 1, 3)[::-1])) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("ring", "other", "area"),
    [
        pytest.param([(0, 0), (4, 0), (4, 4), (0, 4)], [(2, 2), (6, 2), (6, 6), (2, 6)], 4.0, id="corners"),
        pytest.param(
            [(0, 0), (4, 0), (0, 4)], [(0, 0), (4, 0), (0, 4)], 8.0, id="the same, of which OpenCV finds none"
        ),
        pytest.param([(0, 0), (4, 0), (4, 4), (0, 4)], [(1, 1), (2, 1), (2, 2)], 0.5, id="one in the other"),
        pytest.param([(0, 0), (4, 0), (4, 4), (0, 4)], [(5, 0), (9, 0), (9, 4), (5, 4)], 0.0, id="apart"),
        pytest.param([(0, 0), (4, 0), (4, 4), (0, 4)], [(4, 0), (9, 0), (9, 4), (4, 4)], 0.0, id="side by side"),
        pytest.param([(2, -1), (5, 2), (2, 5), (-1, 2)], [(0, 0), (4, 0), (4, 4), (0, 4)], 14.0, id="turned"),
    ],
)
def test_what_two_convex_rings_have_in_common(
    ring: list[tuple[float, float]], other: list[tuple[float, float]], area: float
) -> None:
    found = common_part(np.array(ring, dtype=np.float64), np.array(other, dtype=np.float64))
    assert (abs(signed_area(found)) if len(found) else 0.0) == pytest.approx(area)
