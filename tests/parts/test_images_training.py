"""Images of a dataset: ultralytics finds the pixels in them that predict sees."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ultralytics.data.utils import check_image
from ultralytics.utils.patches import imread

from jobs.train.data.files import ImageFiles
from jobs.train.data.image_file import upright
from shared.errors import ImageError
from shared.media.decode import decode
from shared.media.fit import MIN_SIDE
from tests.samples.image_bytes import encoded
from tests.samples.image_files import CLEAR, PICTURE, exif, works
from tests.samples.refused_files import refused

ENOUGH = 10_000_000
SMALL = {name: file for name, file in works().items() if min(file.shows.shape[:2]) < MIN_SIDE}
LARGE = {name: file for name, file in works().items() if name not in SMALL}


@pytest.mark.parametrize("name", LARGE)
def test_ultralytics_reads_what_predict_sees(name: str, tmp_path: Path) -> None:
    file = upright(LARGE[name].data, ENOUGH)
    path = tmp_path / f"image{file.suffix}"
    path.write_bytes(file.data)
    problem, shape = check_image(str(path))
    assert (problem, shape) == ("", (file.height, file.width))
    read = imread(path)
    assert read is not None
    seen = decode(LARGE[name].data, ENOUGH)
    lossy = LARGE[name].tolerance if file.suffix == ".jpg" and file.data != LARGE[name].data else 0
    assert np.abs(read.astype(int) - seen).max() <= lossy


@pytest.mark.parametrize("name", ["JPEG", "JPEG gray", "JPEG of orientation 1", "PNG", "PNG of 16 bit", "WebP", "BMP"])
def test_what_is_fine_stays_as_it_is(name: str) -> None:
    assert upright(LARGE[name].data, ENOUGH).data is LARGE[name].data


@pytest.mark.parametrize("name", SMALL)
def test_small_images_are_left_out_by_name(name: str) -> None:
    height, width = SMALL[name].shows.shape[:2]
    with pytest.raises(ImageError, match=f"{width}×{height} pixels: images need {MIN_SIDE} on each side") as caught:
        upright(SMALL[name].data, ENOUGH)
    assert caught.value.reason == "unsupported"


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it cannot read, before it fails
def test_what_predict_refuses_is_left_out_for_the_same_reason() -> None:
    for data, reason, sentence in refused().values():
        with pytest.raises(ImageError, match=sentence) as caught:
            upright(data, 200_000_000)
        assert caught.value.reason == reason


@pytest.mark.filterwarnings("ignore")
def test_broken_exif_is_no_reason_to_leave_an_image_out() -> None:
    for cut in range(6, 40):
        for place in range(6, 26, 3):
            tags = bytearray(exif(6)[:cut])
            tags[place : place + 1] = b"\xff"
            file = upright(encoded(PICTURE, "JPEG", exif=bytes(tags)), ENOUGH)
            assert (file.width, file.height) in ((80, 48), (48, 80))


def test_longer_than_a_jpeg_may_be() -> None:
    wide = CLEAR.resize((70_000, MIN_SIDE))
    file = upright(encoded(wide, "PNG", compress_level=1), ENOUGH)
    assert (file.suffix, file.width, file.height) == (".png", 70_000, MIN_SIDE)


class Videos:
    """Answers the same bytes, and knows how long it was given."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.given: list[float] = []

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        self.given.append(deadline - time.monotonic())
        return self.data


def test_a_video_is_kept_byte_for_byte_and_fetched_once(tmp_path: Path) -> None:
    answers, videos = Videos(b""), Videos(os.urandom(100))
    images = ImageFiles(answers, tmp_path, max_pixels=ENOUGH, videos=videos)
    paths = {images.file(7, "video", "/data/upload/1/a.mp4") for _ in range(2)}
    assert [path.read_bytes() for path in paths] == [videos.data]
    assert (len(answers.given), len(videos.given)) == (0, 1)
    assert videos.given[0] > 600, "a video takes longer than an image"


def test_a_picture_is_kept_upright_and_fetched_once(tmp_path: Path) -> None:
    answers = Videos(encoded(PICTURE, "JPEG", exif=exif(6)))
    images = ImageFiles(answers, tmp_path, max_pixels=ENOUGH)
    first, second = (images.get(7, "image", "/data/upload/1/a.jpg") for _ in range(2))
    assert first == second
    assert (first.width, first.height) == (48, 80)
    with Image.open(first.path) as image:
        assert image.size == (48, 80)
    assert len(answers.given) == 1
