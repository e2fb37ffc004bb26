"""How large pictures are cut into tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.geometry.tiles import Tiling, windows


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    side = draw(st.integers(32, 900))
    return Tiling(side, draw(st.integers(1, side // 2)))


def test_a_picture_that_fits_is_one_tile() -> None:
    assert windows(640, 480, Tiling(640, 64)).tolist() == [[0, 0, 640, 480]]
    assert not Tiling(640, 64).cuts(640, 480)
    assert Tiling(640, 64).cuts(641, 480)


def test_tiles_are_spread_evenly_row_by_row() -> None:
    found = windows(1000, 700, Tiling(600, 100))
    assert found.tolist() == [[0, 0, 600, 600], [400, 0, 1000, 600], [0, 100, 600, 700], [400, 100, 1000, 700]]


def test_a_strip_is_cut_along_its_length_only() -> None:
    assert windows(100, 1100, Tiling(600, 100)).tolist() == [[0, 0, 100, 600], [0, 500, 100, 1100]]


@given(st.integers(1, 3000), st.integers(1, 3000), tilings())
def test_tiles_cover_the_picture_and_share_what_they_must(width: int, height: int, tiling: Tiling) -> None:
    found = windows(width, height, tiling)
    sizes = found[:, 2:] - found[:, :2]
    assert (sizes == [min(width, tiling.side), min(height, tiling.side)]).all()
    for axis, length in ((0, width), (1, height)):
        starts = np.unique(found[:, axis])
        assert starts[0] == 0
        assert starts[-1] + sizes[0, axis] == length
        assert (np.diff(starts) <= tiling.side - tiling.overlap).all()
    assert len(found) == len(np.unique(found[:, 0])) * len(np.unique(found[:, 1]))
    assert (len(found) > 1) == tiling.cuts(width, height)


@given(st.integers(100, 3000), st.integers(100, 3000), tilings(), st.data())
def test_an_object_no_larger_than_the_overlap_is_whole_in_a_tile(
    width: int, height: int, tiling: Tiling, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, min(tiling.overlap, width, height)))
    x, y = data.draw(st.integers(0, width - size)), data.draw(st.integers(0, height - size))
    found = windows(width, height, tiling)
    assert ((found[:, :2] <= [x, y]) & (found[:, 2:] >= [x + size, y + size])).all(axis=1).any()


@pytest.mark.parametrize(("side", "overlap"), [(31, 4), (64, 0), (64, 33), (64, -1)])
def test_tiles_that_would_cut_objects_or_have_no_end(side: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="a tile has 32 or more and shares from 1 to a half"):
        Tiling(side, overlap)
