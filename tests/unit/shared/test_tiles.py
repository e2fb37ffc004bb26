"""How large pictures are cut into tiles, and who is asked whether they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SettingsError
from shared.geometry.tiles import Tiling, windows
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.tiles_wanted import base_tiling, tiles_wanted
from shared.settings import Settings


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


def asked(tag: str, written: str = "") -> Control:
    labels = '<Choice value="a"/>' if tag == "Choices" else '<Label value="a"/>'
    media = "Video" if tag in ("VideoRectangle", "TimelineLabels") else "Image"
    (control,) = parse_label_config(
        f'<View><{media} name="i" value="$i"/><{tag} name="c" toName="i" {written}>{labels}</{tag}></View>'
        if tag != "VideoRectangle"
        else f'<View><Video name="i" value="$i"/><{tag} name="c" toName="i" {written}/><Labels name="l" toName="i">'
        f"{labels}</Labels></View>"
    )
    return control


@pytest.mark.parametrize(
    ("written", "setting", "wanted"),
    [
        ("", "auto", "auto"),
        ("", "off", "off"),
        ("", "640", 640),
        ('model_tiles="OFF"', "640", "off"),
        ('model_tiles="auto"', "off", "auto"),
        ('model_tiles="1280"', "off", 1280),
        ('model_tiles="1280.5"', "off", 1280),
        ('model_tiles="12"', "off", "off"),  # it is ignored, which doctor says
        ('model_tiles="1e999"', "64", 64),
    ],
)
def test_the_attribute_comes_before_the_setting(written: str, setting: str, wanted: str | int) -> None:
    control = asked("PolygonLabels", written)
    assert tiles_wanted(control, setting) == wanted
    assert base_tiling(control, setting) == (Tiling(wanted, wanted // 5) if isinstance(wanted, int) else None)


@pytest.mark.parametrize("tag", ["Choices", "VideoRectangle", "TimelineLabels"])
def test_what_has_no_objects_in_pictures_has_no_tiles(tag: str) -> None:
    assert tiles_wanted(asked(tag, 'model_tiles="640"'), "640") == "off"


@pytest.mark.parametrize("written", ["auto", "off", "64", "8192"])
def test_what_may_be_set(written: str) -> None:
    assert Settings.from_environ({"LABELLOOP_TILES": written}).tiles == written


@pytest.mark.parametrize("written", ["on", "63", "8193", "-640", "640.5", "6400000000", "9" * 9000])
def test_what_may_not_be_set(written: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_TILES: must be auto, off, or the pixels of a tile's side"):
        Settings.from_environ({"LABELLOOP_TILES": written})
