"""A large JPEG file: the same pixels, in memory once."""

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.errors import ImageError
from shared.media.decode import decode
from shared.media.jpeg import first_picture
from shared.media.jpeg_pixels import LARGE, decoded_once
from tests.samples.image_bytes import encoded
from tests.samples.image_files import works

JPEGS = {
    name: picture.data
    for name, file in works().items()
    if file.data.startswith(b"\xff\xd8") and (picture := first_picture(file.data))
}
SIDE = 4000
FLAGS = {scale: flag | cv2.IMREAD_IGNORE_ORIENTATION for scale, flag in
         ((1, cv2.IMREAD_COLOR), (2, cv2.IMREAD_REDUCED_COLOR_2), (8, cv2.IMREAD_REDUCED_COLOR_8))}  # fmt: skip


@pytest.mark.parametrize("scale", FLAGS)
@pytest.mark.parametrize("name", JPEGS)
def test_pixels_are_those_of_imdecode(name: str, scale: int) -> None:
    expected = cv2.imdecode(np.frombuffer(JPEGS[name], np.uint8), FLAGS[scale])
    assert expected is not None
    found = decoded_once(JPEGS[name], FLAGS[scale], (*expected.shape[:2], 3))
    assert found is not None
    assert (found == expected).all()


def test_what_fails_is_none() -> None:
    data = encoded(Image.new("RGB", (80, 48), "white"), "JPEG")
    flags = FLAGS[1]
    assert decoded_once(data, flags, (48, 80, 3)) is not None
    for broken in (data[:30], b"", b"\xff\xd8" + data):
        same = cv2.imdecode(np.frombuffer(broken, np.uint8), flags) if broken else None
        assert (decoded_once(broken, flags, (48, 80, 3)) is None) == (same is None)
    assert decoded_once(data, flags, (80, 48, 3)) is None, "another shape"
    assert decoded_once(data, cv2.IMREAD_GRAYSCALE, (48, 80, 3)) is None


def test_a_large_file_that_is_cut_off_is_broken() -> None:
    assert SIDE * SIDE >= LARGE
    shades = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8)
    data = encoded(Image.fromarray(shades).convert("RGB"), "JPEG")
    assert np.abs(decode(data, SIDE * SIDE)[:, :, 0].astype(int) - shades).max() < 30
    for rest in (b"", b"\xff\xd9"):
        with pytest.raises(ImageError, match="rows of pixels are missing"):
            decode(data[: len(data) // 2] + rest, SIDE * SIDE)
