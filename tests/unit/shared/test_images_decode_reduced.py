"""Large JPEG files for models with small inputs: fewer pixels of the same picture, in the same place."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageError
from shared.inference.letterbox import letterbox
from shared.media.decode import decode, decode_for
from shared.media.fit import squared
from tests.samples.image_bytes import encoded
from tests.samples.image_files import exif, turned, works
from tests.samples.refused_files import refused

ENOUGH = 200_000_000
WORKS = works()
REFUSED = {name: each for name, each in refused().items() if name.startswith("JPEG")}


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A piece of what is smooth, as photographs are, and not alike in any two corners."""
    corners = np.array([[[10, 200, 90], [240, 120, 30]], [[60, 20, 220], [190, 250, 140]]], dtype=np.uint8)
    smooth = cv2.resize(corners, (400, 400), interpolation=cv2.INTER_LINEAR)
    return Image.fromarray(smooth[:height, :width]).convert(mode)


def averaged(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Each `scale` × `scale` pixels become one; at right and bottom the last ones are repeated."""
    height, width = pixels.shape[:2]
    filled = np.pad(pixels, ((0, -height % scale), (0, -width % scale), (0, 0)), mode="edge")
    size = filled.shape[1] // scale, filled.shape[0] // scale
    return np.asarray(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    side=st.integers(1, 500),
    mode=st.sampled_from(("RGB", "L", "CMYK")),
    orientation=st.integers(0, 9),
    options=st.fixed_dictionaries({"subsampling": st.sampled_from((0, 1, 2)), "progressive": st.booleans()}),
)
@example(width=399, height=1, side=40, mode="RGB", orientation=6, options={})
@example(width=1, height=399, side=199, mode="L", orientation=1, options={})
@example(width=321, height=239, side=160, mode="RGB", orientation=5, options={"subsampling": 2})
@example(width=400, height=300, side=200, mode="RGB", orientation=1, options={})
def test_the_same_picture_in_fewer_pixels(
    width: int, height: int, side: int, mode: str, orientation: int, options: dict[str, Any]
) -> None:
    image = picture(width, height, mode)
    small, whole = decode_for(encoded(image, "JPEG", quality=95, exif=exif(orientation), **options), ENOUGH, side)
    scale = max(each for each in (1, 2, 4, 8) if each == 1 or max(width, height) >= each * side)
    as_stored = decode(encoded(image, "JPEG", quality=95, **options), ENOUGH)
    expected = turned(averaged(as_stored, 1 if mode == "CMYK" else scale), orientation)
    assert whole == turned(as_stored, orientation).shape[:2]
    assert small.shape == expected.shape
    assert small.flags.c_contiguous
    assert np.abs(small.astype(int) - expected).mean() < 3


@given(width=st.integers(1, 900), height=st.integers(1, 900), scale=st.sampled_from((2, 4, 8)))
def test_a_network_sees_it_in_the_same_place(width: int, height: int, scale: int) -> None:
    """Though sides are rounded up, which may change how long one is to the other."""
    full, small = (np.zeros((-(-height // by), -(-width // by), 3), dtype=np.uint8) for by in (1, scale))
    np.testing.assert_array_equal(letterbox(small, 96, 32, whole=(height, width)), letterbox(full, 96, 32))
    np.testing.assert_array_equal(squared(small, 64, whole=(height, width)), squared(full, 64))


@pytest.mark.parametrize("name", WORKS)
def test_all_kinds_of_files(name: str) -> None:
    """Other formats, and what OpenCV does not read as browsers do, come in all pixels."""
    full = decode(WORKS[name].data, ENOUGH)
    small, whole = decode_for(WORKS[name].data, ENOUGH, 10)
    assert whole == full.shape[:2]
    if not name.startswith("JPEG") or small.shape == full.shape:
        np.testing.assert_array_equal(small, full)
    else:
        scale = max(full.shape) // max(small.shape)
        assert scale in (2, 4, 8)
        assert np.abs(small.astype(int) - averaged(full, scale)).mean() < 6, "squares of colour"


def test_large_files_of_phones_come_in_fewer_pixels() -> None:
    """Else the tests above would pass without any."""
    reduced = [name for name, file in WORKS.items() if decode_for(file.data, ENOUGH, 10).pixels.size == 10 * 6 * 3]
    assert {"JPEG", "JPEG progressive", "JPEG gray", "JPEG turned, with a motion clip behind"} <= set(reduced)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it cannot read, before it fails
@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_in_all_pixels_is_refused_in_fewer(name: str, side: int) -> None:
    data, reason, sentence = REFUSED[name]
    with pytest.raises(ImageError, match=sentence) as caught:
        decode_for(data, ENOUGH, side)
    assert caught.value.reason == reason


def test_the_limit_of_pixels_is_that_of_the_whole_picture() -> None:
    with pytest.raises(ImageError, match=r"80 × 48.*LABELLOOP_IMAGE_MAX_PIXELS"):
        decode_for(encoded(picture(80, 48), "JPEG"), 80 * 48 - 1, 10)


def test_a_picture_that_ends_in_gray_is_whole() -> None:
    """Though it ends like one whose data is missing."""
    gray = encoded(Image.new("RGB", (400, 300), (128, 128, 128)), "JPEG")
    assert decode_for(gray, ENOUGH, 50).pixels.shape == (38, 50, 3)
