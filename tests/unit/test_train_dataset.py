"""From frozen tasks to the files that ultralytics reads."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.train.annotations import NothingToLearn
from jobs.train.dataset import Dataset, build
from jobs.train.frozen import FrozenTask
from jobs.train.images import Pictures, upright
from shared.errors import ImageError
from shared.labelstudio.config import parse_label_config
from tests.train_parts import CONFIG, jpeg, rectangle

[CONTROL] = parse_label_config(CONFIG)


class Fetcher:
    """Answers bytes, or raises what the value names."""

    def __init__(self) -> None:
        self.asked: list[int | None] = []

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        self.asked.append(task_id)
        if isinstance(value, bytes):
            return value
        raise ImageError(str(value), f"it is {value}")


def task(number: int, *regions: dict[str, Any], split: str = "train", value: Any = None) -> FrozenTask:
    data = {"image": jpeg() if value is None else value}
    return FrozenTask(
        id=number,
        annotation=number,
        updated_at=None,
        split=split,
        data=data,
        regions=list(regions),  # type: ignore[arg-type]
    )


def built(tasks: Iterable[FrozenTask], folder: Path, fetcher: Fetcher | None = None) -> Dataset | None:
    pictures = Pictures(fetcher or Fetcher(), folder / "pictures", max_pixels=10**7)
    return build(tasks, CONTROL, pictures, folder / "dataset", concurrency=3, check=lambda: None)


def rows(folder: Path, split: str, number: int) -> list[list[float]]:
    text = (folder / "dataset" / "labels" / split / f"{number}.txt").read_text()
    return [[float(value) for value in line.split()] for line in text.splitlines()]


def test_boxes_labels_and_backgrounds(tmp_path: Path) -> None:
    rotated = rectangle("Rock", x=50, y=25, width=50, height=25, rotation=90)
    dataset = built([task(1, rectangle(), rotated), task(2, split="val"), task(3, rectangle("Car"))], tmp_path)
    assert dataset is not None
    assert rows(tmp_path, "train", 1)[0] == [0, 0.5, 0.5, 0.5, 0.5]
    # 32×12 pixels of 64×48, turned clockwise around (32, 12): 12 to the left, 32 downwards.
    assert rows(tmp_path, "train", 1)[1] == pytest.approx([1, 26 / 64, 28 / 48, 12 / 64, 32 / 48], abs=1e-5)
    assert rows(tmp_path, "val", 2) == []
    counts = dataset.counts
    assert (counts.train, counts.val, counts.boxes, counts.background, counts.foreign_labels) == (2, 1, 2, 2, 1)
    data = json.loads(dataset.data.read_text())
    assert data["names"] == ["Tree", "Rock"]
    assert (data["train"], data["val"]) == ("images/train", "images/val")


def test_an_image_that_cannot_be_had_leaves_its_task_out(tmp_path: Path) -> None:
    cut_off = jpeg()[:200]
    tasks = [task(1, rectangle()), task(2, rectangle(), value="not_found"), task(3, rectangle(), value=cut_off)]
    dataset = built([*tasks, task(4, rectangle(), split="val")], tmp_path)
    assert dataset is not None
    assert dataset.counts.left_out.total() == 2
    assert [number for number, _ in dataset.counts.named] == [2, 3]
    assert not (tmp_path / "dataset" / "labels" / "train" / "2.txt").exists()


def test_no_image_at_all(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="not one image"):
        built([task(1, rectangle(), value="not_found")], tmp_path)


def test_no_image_at_all_for_a_reason_that_may_heal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pictures._fetch.retry, "sleep", lambda _: None)  # type: ignore[attr-defined]
    fetcher = Fetcher()
    with pytest.raises(ImageError, match="not one image"):
        built([task(1, rectangle(), value="unreachable")], tmp_path, fetcher)
    assert fetcher.asked == [1, 1, 1], "such an image is asked for again"


def test_no_task_at_all_and_no_box_at_all(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="no annotated task"):
        built([], tmp_path)
    assert built([task(1), task(2, rectangle("Car"))], tmp_path) is None


@pytest.mark.parametrize(
    ("split", "train", "val", "comparable"),
    [
        pytest.param("train", "images/train", "images/train", False, id="no task fell into val"),
        pytest.param("val", ["images/train", "images/val"], "images/val", False, id="all fell into val"),
    ],
)
def test_small_projects_train_on_what_there_is(
    tmp_path: Path, split: str, train: str | list[str], val: str, comparable: bool
) -> None:
    dataset = built([task(number, rectangle(), split=split) for number in range(1, 8)], tmp_path)
    assert dataset is not None
    data = json.loads(dataset.data.read_text())
    assert (data["train"], data["val"], dataset.comparable) == (train, val, comparable)


def test_images_are_fetched_once(tmp_path: Path) -> None:
    fetcher = Fetcher()
    for _ in range(2):
        built([task(1, rectangle()), task(2, rectangle())], tmp_path, fetcher)
    assert sorted(fetcher.asked, key=str) == [1, 2]


def test_an_image_that_exif_turns_is_written_upright() -> None:
    suffix, data, width, height = upright(jpeg(64, 48, orientation=6), 10**7)
    assert (suffix, width, height) == (".jpg", 48, 64)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (48, 64)
        assert not image.getexif()


def test_formats(tmp_path: Path) -> None:
    plain = jpeg()
    assert upright(plain, 10**7) == (".jpg", plain, 64, 48)
    gif = io.BytesIO()
    Image.new("P", (20, 30), 3).save(gif, "GIF")
    suffix, data, width, height = upright(gif.getvalue(), 10**7)
    assert (suffix, width, height) == (".jpg", 20, 30)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize(
    ("data", "reason"), [(b"nothing", "unsupported"), (jpeg(9, 100), "unsupported"), (jpeg(400, 300), "too_large")]
)
def test_images_that_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as refused:
        upright(data, 100_000)
    assert refused.value.reason == reason
