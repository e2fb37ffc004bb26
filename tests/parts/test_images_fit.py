"""Sizes in which models see pictures: the whole of it in a square, and what is kept of a large one."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from ultralytics.utils import ASSETS

from infra.demo.samples import tiles
from jobs.train.data.files import ImageFiles
from jobs.train.data.image_file import upright, write_square
from shared.media.decode import decode, decode_for
from shared.media.fit import shrunk, squared
from tests.samples.image_bytes import encoded
from tests.samples.served_graphs import base_graph, quick_loader

GRAY = 114


@pytest.mark.parametrize(
    ("width", "height", "place"),
    [
        pytest.param(480, 120, (0, 24, 64, 16), id="wide"),
        pytest.param(120, 480, (24, 0, 16, 64), id="high"),
        pytest.param(10, 10, (0, 0, 64, 64), id="small"),
        pytest.param(1, 1, (0, 0, 64, 64), id="a pixel"),
        pytest.param(6400, 400, (0, 30, 64, 4), id="16 times as wide as high"),
        pytest.param(70_000, 10, (0, 30, 64, 4), id="a thread: made wider"),
        pytest.param(3, 9000, (30, 0, 4, 64), id="a thread, upright"),
    ],
)
def test_the_whole_picture_in_the_middle_of_gray(width: int, height: int, place: tuple[int, int, int, int]) -> None:
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    x, y, across, down = place
    expected = np.full((64, 64, 3), GRAY, dtype=np.uint8)
    expected[y : y + down, x : x + across] = 255
    np.testing.assert_array_equal(squared(pixels, 64), expected)


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((1280, 960), (1280, 960)),
        ((1281, 960), (1280, 959)),
        ((12_000, 8_000), (1280, 853)),
        ((8_000, 12_000), (853, 1280)),
        ((12_000, 20), (6000, 10)),
        ((70_000, 10), (70_000, 10)),
    ],
)
def test_twice_of_what_a_model_sees_is_kept(size: tuple[int, int], kept: tuple[int, int]) -> None:
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    small = shrunk(pixels, 640)
    assert small.shape[1::-1] == kept
    assert (small is pixels) == (size == kept)


def test_no_pixel_of_a_large_picture_is_passed_over() -> None:
    """A thin line, of which one step to the model's size would take every third pixel or none."""
    pixels = np.full((4000, 6000, 3), 200, dtype=np.uint8)
    pixels[:, 3000:3003] = 0
    small = shrunk(pixels, 320)
    seen = cv2.resize(small, (320, 213), interpolation=cv2.INTER_LINEAR)
    assert (200 - seen[100].mean(axis=1)).sum() == pytest.approx(200 * 3 * 320 / 6000, rel=0.1)


class Answers:
    """One image file, and how often it was asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked = 0

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        self.asked += 1
        return self.data


def photograph(name: str, times: float) -> NDArray[np.uint8]:
    read = cv2.imread(str(ASSETS / name))
    assert read is not None
    return cv2.resize(read, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_large_picture_is_kept_small_and_says_its_own_size(format_: str, tmp_path: Path) -> None:
    pixels = photograph("bus.jpg", 4)
    data = encoded(Image.fromarray(pixels[:, :, ::-1]), format_)
    answers = Answers(data)
    images = ImageFiles(answers, tmp_path, max_pixels=10**8, image_size=320)
    first, again = (images.get(7, "image", "a") for _ in range(2))
    assert first == again
    assert answers.asked == 1
    assert (first.width, first.height) == pixels.shape[1::-1]
    file = cv2.imread(str(first.path))
    assert file is not None
    assert file.shape == (640, 480, 3)
    assert first.path.stat().st_size < len(data) / 5
    assert np.abs(file.astype(int) - shrunk(decode(data, 10**8), 320)).mean() < 2

    whole = images.get(7, "image", "a", whole=True)
    assert (whole.width, whole.height) == pixels.shape[1::-1]
    assert whole.path.read_bytes() == data
    assert images.get(7, "image", "a") == first
    assert answers.asked == 2
    first.path.unlink()
    assert images.get(7, "image", "a") == first, "made of the whole one"
    assert answers.asked == 2


def test_a_picture_that_is_turned_says_its_size_upright(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    data = encoded(Image.new("RGB", (2000, 1000)), "JPEG", exif=turned)
    images = ImageFiles(Answers(data), tmp_path, max_pixels=10**8, image_size=320)
    picture = images.get(7, "image", "a")
    assert (picture.width, picture.height) == (1000, 2000)
    with Image.open(picture.path) as image:
        assert image.size == (320, 640)


def test_predict_sees_a_large_picture_as_training_does(tmp_path: Path) -> None:
    """The file of a training, and the picture itself, with noise, which stays in one step to its size."""
    model = quick_loader(iou=0.5).load_base(str(base_graph(tmp_path)))
    noise = np.random.default_rng(0).integers(-40, 41, (4000, 4000, 3)).astype(np.int16)
    compared = 0
    for tile in tiles()[:3]:
        enlarged = cv2.resize(decode(tile.data, 10**8), (4000, 4000), interpolation=cv2.INTER_CUBIC)
        large = np.clip(enlarged + noise, 0, 255).astype(np.uint8)
        data = encoded(Image.fromarray(large[:, :, ::-1]), "JPEG", quality=95)
        file = upright(data, 10**8, model.image_size)
        written = np.ascontiguousarray(np.asarray(Image.open(io.BytesIO(file.data)))[:, :, ::-1])
        assert written.shape == (1280, 1280, 3)
        ours, theirs = (model.submit(image, 0.25).result(60) for image in (decode(data, 10**8), written))
        assert len(ours) == len(theirs)
        order, other = ours.xyxy[:, 0].argsort(), theirs.xyxy[:, 0].argsort()
        np.testing.assert_allclose(ours.xyxy[order], theirs.xyxy[other] * 4000 / 1280, atol=40)  # a hundredth
        np.testing.assert_allclose(ours.scores[order], theirs.scores[other], atol=0.05)
        small, whole = decode_for(data, 10**8, model.image_size)
        assert small.shape == (1000, 1000, 3)
        again = model.submit(small, 0.2, whole=whole).result(60)
        for box in ours.xyxy[ours.scores >= 0.3]:
            assert np.abs(again.xyxy - box).max(axis=1).min() < 40
        compared += len(ours)
    assert compared > 5


@pytest.mark.parametrize("reduced", [True, False])
def test_classifiers_learn_from_the_very_pixels_that_predict_shows_them(reduced: bool, tmp_path: Path) -> None:
    data = encoded(Image.fromarray(photograph("zidane.jpg", 1)[:, :, ::-1]), "JPEG", quality=90)
    picture = ImageFiles(Answers(data), tmp_path, max_pixels=10**8, image_size=640).get(7, "image", "a")
    write_square(picture.path, tmp_path / "square.png", 224, reduced=reduced)
    written = cv2.imread(str(tmp_path / "square.png"))
    assert written is not None
    shown = decode_for(data, 10**8, 224 if reduced else None)
    assert shown.pixels.shape == ((180, 320, 3) if reduced else (720, 1280, 3))
    np.testing.assert_array_equal(written, squared(shown.pixels, 224, shown.whole))
