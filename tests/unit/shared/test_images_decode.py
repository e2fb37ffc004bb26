"""Decoding: the pixels of every kind of file, upright, bounded in pixels and memory; and a reason where there are none.

What a browser shows of the same files is compared in tests/real/test_images_formats.py.
"""

import contextlib
import random
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageError
from shared.media.decode import decode
from tests.samples.image_bytes import encoded
from tests.samples.image_files import PICTURE, ImageFile, exif, works
from tests.samples.refused_files import refused

ENOUGH = 10_000_000
WORKS, REFUSED = works(), refused()


def assert_shows(pixels: NDArray[np.uint8], file: ImageFile) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.shape == file.shows.shape
    assert np.abs(pixels[:, :, ::-1].astype(int) - file.shows).max() <= file.tolerance


@pytest.mark.parametrize("name", WORKS)
def test_pixels_of(name: str) -> None:
    assert_shows(decode(WORKS[name].data, ENOUGH), WORKS[name])


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it cannot read, before it fails
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    data, reason, sentence = REFUSED[name]
    with pytest.raises(ImageError, match=sentence) as caught:
        decode(data, 200_000_000)
    assert caught.value.reason == reason


def test_colours_are_blue_green_red() -> None:
    for format_ in ("PNG", "GIF", "TIFF"):
        assert decode(encoded(Image.new("RGB", (2, 2), (255, 128, 0)), format_), ENOUGH)[0, 0].tolist() == [0, 128, 255]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_broken_orientation_is_none(mode: str) -> None:
    """Browsers show such a picture as it is."""
    for cut in range(6, 26):
        data = encoded(PICTURE.convert(mode), "JPEG", exif=exif(6)[:cut])
        assert decode(data, ENOUGH).shape == (48, 80, 3)


def test_the_limit_of_pixels_is_inclusive() -> None:
    data = encoded(PICTURE, "PNG")
    assert decode(data, 80 * 48).shape == (48, 80, 3)
    with pytest.raises(ImageError, match=r"80 × 48.*LABELLOOP_IMAGE_MAX_PIXELS") as caught:
        decode(data, 80 * 48 - 1)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_damaged_files_end_in_pixels_or_an_image_error(format_: str) -> None:
    chance = random.Random(format_)
    whole = encoded(PICTURE, format_, exif=exif(6)) if format_ in ("JPEG", "PNG", "WEBP") else encoded(PICTURE, format_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(200):
            damaged = bytearray(whole)
            for _ in range(chance.choice((1, 3, 10))):
                damaged[chance.randrange(min(len(damaged), chance.choice((60, 10_000))))] = chance.randrange(256)
            del damaged[chance.choice((len(damaged), chance.randrange(len(damaged)))) :]
            with contextlib.suppress(ImageError):
                assert decode(bytes(damaged), 1_000_000).shape[2] == 3


@pytest.mark.parametrize("name", ["PNG animated", "PNG animated, its still picture no frame", "WebP animated"])
def test_a_damaged_animation_ends_no_process(name: str) -> None:
    """OpenCV 4.12 writes beyond its memory when the pixels of an animated PNG are damaged."""
    whole = WORKS[name].data
    for place in range(40, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 255
        with contextlib.suppress(ImageError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow takes the still picture then
            assert decode(bytes(damaged), ENOUGH).shape[2] == 3
