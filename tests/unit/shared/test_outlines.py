"""Masks to outlines and back: exact, or with few points and a limited loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from shared.geometry.outlines import mask_to_outline, masks_to_outlines, outline_to_runs, outlines_to_runs, simplify
from shared.geometry.rings import signed_area
from tests.samples.shapes import Mask, blobs, iou, painted

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def drawn(picture: str) -> Mask:
    return np.array([[letter == "#" for letter in line] for line in picture.split()])


@given(MASKS)
def test_an_outline_of_a_mask_is_exact(mask: Mask) -> None:
    height, width = mask.shape
    outline = mask_to_outline(mask)
    assert (painted(outline, width, height) == mask).all()
    assert sum(signed_area(ring) for ring in outline) == mask.sum()  # holes run the other way round


@given(MASKS)
def test_rings_through_the_middles_of_sides_are_exact_too(mask: Mask) -> None:
    height, width = mask.shape
    assert (painted(mask_to_outline(mask, 1e-6), width, height) == mask).all()


@given(st.lists(MASKS, max_size=4), st.sampled_from([0.0, 0.75]))
def test_many_at_once_are_as_each_alone(masks: list[Mask], tolerance: float) -> None:
    together = masks_to_outlines(masks, tolerance)
    assert len(together) == len(masks)
    for mask, outline in zip(masks, together, strict=True):
        alone = mask_to_outline(mask, tolerance)
        assert [ring.tolist() for ring in outline] == [ring.tolist() for ring in alone]
    runs = outlines_to_runs(together, 12, 12)
    for outline, (begin, behind) in zip(together, runs, strict=True):
        assert [begin.tolist(), behind.tolist()] == [one.tolist() for one in outline_to_runs(outline, 12, 12)]


def test_masks_that_fill_their_images_stay_apart() -> None:
    full = mask_to_outline(np.ones((3, 4), dtype=np.bool_))
    runs = outlines_to_runs([full, (), full], 4, 3)
    assert [(begin.tolist(), behind.tolist()) for begin, behind in runs] == [([0], [12]), ([], []), ([0], [12])]


@pytest.mark.parametrize(
    ("picture", "rings"),
    [
        ("#", [[(0, 0), (1, 0), (1, 1), (0, 1)]]),
        ("... .## .##", [[(1, 1), (3, 1), (3, 3), (1, 3)]]),
        ("#.#", [[(0, 0), (1, 0), (1, 1), (0, 1)], [(2, 0), (3, 0), (3, 1), (2, 1)]]),
        ("### #.# ###", [[(0, 0), (3, 0), (3, 3), (0, 3)], [(1, 1), (1, 2), (2, 2), (2, 1)]]),
        ("#. .#", [[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (1, 2), (1, 1), (0, 1)]]),
        ("...", []),
    ],
    ids=["a pixel", "at a corner of the mask", "two parts", "a hole", "touching corners", "nothing"],
)
def test_rings(picture: str, rings: list[list[tuple[int, int]]]) -> None:
    def normal(ring: list[list[float]]) -> list[tuple[float, ...]]:
        start = ring.index(min(ring))
        return [tuple(point) for point in ring[start:] + ring[:start]]

    assert sorted(normal(ring.tolist()) for ring in mask_to_outline(drawn(picture))) == sorted(rings)


def test_a_mask_of_any_number_but_zero() -> None:
    mask = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    assert painted(mask_to_outline(mask), 4, 1).tolist() == [[False, True, True, True]]


@given(st.lists(st.lists(st.tuples(*[st.floats(-3, 12)] * 2), min_size=3, max_size=7), max_size=3))
def test_runs_are_the_pixels_whose_centre_is_inside_an_odd_number_of_times(
    rings: list[list[tuple[float, float]]],
) -> None:
    """Computed for each pixel by counting the crossings of a ray to the left."""
    outline = tuple(np.array(ring) for ring in rings)
    expected = np.zeros((8, 9), dtype=np.bool_)
    for row, column in np.ndindex(expected.shape):
        x, y = column + 0.5, row + 0.5
        for ring in rings:
            for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
                if (y0 <= y) != (y1 <= y):
                    expected[row, column] ^= x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x
    assert (painted(outline, 9, 8) == expected).all()
    begin, behind = outline_to_runs(outline, 9, 8)
    assert (begin < behind).all()
    assert (begin[1:] > behind[:-1]).all()


@settings(max_examples=50)
@given(st.data(), st.sampled_from([(60, 40), (160, 100), (320, 180)]))
def test_stairs_go_and_the_shape_stays(data: st.DataObject, size: tuple[int, int]) -> None:
    mask = data.draw(blobs(*size))
    outline = mask_to_outline(mask, 0.75)
    exact = mask_to_outline(mask)
    assert iou(painted(outline, *size), mask) >= 0.85
    if mask.sum() > 2000:
        assert iou(painted(outline, *size), mask) >= 0.97
        assert sum(map(len, outline)) <= sum(map(len, exact)) / 3


@settings(max_examples=50)
@given(st.data(), st.sampled_from([(60, 40), (320, 180)]), st.sampled_from([1.0, 4.5]))
def test_few_points_cost_little_area(data: st.DataObject, size: tuple[int, int], scale: float) -> None:
    mask = data.draw(blobs(*size))
    outline = tuple(ring * scale for ring in mask_to_outline(mask, 0.75))
    simple = simplify(outline)
    width, height = int(size[0] * scale), int(size[1] * scale)
    assert iou(painted(simple, width, height), painted(outline, width, height)) >= 0.84
    assert all(len(ring) <= 60 for ring in simple)


def test_a_circle_has_as_many_points_as_an_annotator_would_set() -> None:
    y, x = np.mgrid[0:400, 0:400] + 0.5
    (ring,) = simplify(mask_to_outline(np.hypot(x - 200, y - 200) < 150, 0.75))
    assert 10 <= len(ring) <= 20
    assert abs(signed_area(ring)) == pytest.approx(np.pi * 150**2, rel=0.05)


def test_a_rectangle_keeps_its_corners() -> None:
    mask = np.zeros((50, 80), dtype=np.bool_)
    mask[10:40, 20:70] = True
    (ring,) = simplify(mask_to_outline(mask))
    assert sorted(map(tuple, ring.tolist())) == [(20, 10), (20, 40), (70, 10), (70, 40)]


def test_a_mask_of_noise_ends_as_rings_of_bounded_number() -> None:
    noise = np.random.default_rng(0).random((200, 200)) < 0.1
    assert len(simplify(mask_to_outline(noise))) == 100


def test_crumbs_are_dropped_and_parts_stay() -> None:
    mask = np.zeros((100, 200), dtype=np.bool_)
    mask[10:90, 10:90] = True
    mask[20:60, 120:180] = True  # another part
    mask[30:50, 30:50] = False  # a hole
    mask[80:83, 150:153] = True  # a crumb
    mask[70:72, 70:72] = False  # a speck of dust
    rings = simplify(mask_to_outline(mask))
    assert sorted(signed_area(ring) for ring in rings) == [-400, 2400, 6400]


@pytest.mark.parametrize("outline", [(), (np.zeros((3, 2)),), (np.array([[0.0, 0], [5, 5], [9, 9]]),)])
def test_nothing_to_simplify(outline: tuple[NDArray[np.float64], ...]) -> None:
    assert simplify(outline) == ()
