"""From the tasks of a snapshot to the files that ultralytics reads."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from jobs.train.data.annotations import NothingToLearn
from jobs.train.data.dataset import Dataset, build, check_both_sides
from jobs.train.data.files import ImageFiles
from jobs.train.data.image_file import upright
from jobs.train.data.outage import Breaker, ImagesMissing, ImagesOutage
from jobs.train.data.samples import Views
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.split import Split
from jobs.train.preset import training_data
from jobs.train.yolo.val_set import ValSet, task_of
from shared.errors import ImageError
from shared.geometry.tiles import Tiling
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from tests.fakes.train_parts import CONFIG, jpeg, rectangle
from tests.samples.image_bytes import encoded
from tests.samples.image_files import exif

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


def task(number: int, *regions: dict[str, Any], split: Split = "train", value: Any = None) -> SnapshotTask:
    data = {"$image": jpeg() if value is None else value}
    return SnapshotTask(
        id=number,
        annotation=number,
        updated_at=None,
        split=split,
        data=data,
        regions=list(regions),
    )


def built(
    tasks: Iterable[SnapshotTask], folder: Path, fetcher: Fetcher | None = None, control: Control = CONTROL
) -> Dataset | None:
    images = ImageFiles(fetcher or Fetcher(), folder / "pictures", max_pixels=10**7, concurrency=3)
    return build(tasks, control, images, folder / "dataset", check=lambda: None)


def rows(folder: Path, split: str, number: int | str) -> list[list[float]]:
    text = (folder / "dataset" / "labels" / split / f"{number}.txt").read_text()
    return [[float(value) for value in line.split()] for line in text.splitlines()]


def size_of(image: Path) -> tuple[int, int]:
    with Image.open(image) as opened:
        return opened.size


def test_boxes_labels_and_backgrounds(tmp_path: Path) -> None:
    rotated = rectangle("Rock", x=50, y=25, width=50, height=25, rotation=90)
    tasks = [task(1, rectangle(), rotated), task(2, split="val"), task(3, rectangle(), rectangle("Car")), task(4)]
    dataset = built(tasks, tmp_path)
    assert dataset is not None
    assert rows(tmp_path, "train", 1)[0] == [0, 0.5, 0.5, 0.5, 0.5]
    # 32×12 pixels of 64×48, turned clockwise around (32, 12): 12 to the left, 32 downwards.
    assert rows(tmp_path, "train", 1)[1] == pytest.approx([1, 26 / 64, 28 / 48, 12 / 64, 32 / 48], abs=1e-5)
    assert rows(tmp_path, "val", 2) == []
    counts = dataset.counts
    assert (counts.train, counts.val, counts.objects, counts.background, counts.foreign_labels) == (3, 1, 3, 2, 1)
    data = json.loads(dataset.data.read_text())
    assert data["names"] == ["Tree", "Rock"]
    assert (data["train"], data["val"]) == ("images/train", "images/val")


def test_tiles_of_pictures_and_the_pictures(tmp_path: Path) -> None:
    """A picture of 3000×100 in four tiles of 1000: two show the box, and two of those that show nothing are enough."""
    wide = jpeg(3000, 100)
    box = rectangle(x=30, y=0, width=1, height=50)  # 900 to 930 of 3000
    tasks = [task(1, box, value=wide), task(2, box, value=wide, split="val"), task(3, rectangle()), task(4, value=wide)]
    fetcher = Fetcher()
    images = ImageFiles(fetcher, tmp_path / "pictures", max_pixels=10**7, concurrency=3, image_size=640)
    views = Views(Tiling(1000, 100), ("val",))
    dataset = build(tasks, CONTROL, images, tmp_path / "dataset", check=lambda: None, views=views)
    assert dataset is not None
    assert fetcher.asked.count(1) == 1
    counts = dataset.counts
    assert (counts.train, counts.train_objects, counts.background) == (3, 2, 1), (
        "an object counts once, not in each tile"
    )
    assert (counts.val, counts.val_images, counts.val_objects) == (1, 1, 1)
    assert (counts.train_images, counts.tiles) == (9, 6)

    def sizes(place: str) -> dict[str, tuple[int, int]]:
        return {path.name: size_of(path) for path in (tmp_path / "dataset" / "images" / place).iterdir()}

    assert sizes("train") == {
        "1.jpg": (1280, 43), "3.jpg": (64, 48), "4.jpg": (1280, 43),
        **dict.fromkeys([*(f"1-{number}.jpg" for number in range(4)), "4-0.jpg", "4-1.jpg"], (1000, 100)),
    }  # fmt: skip
    assert sizes("val") == {"2.jpg": (3000, 100)}, "the gate looks at all pixels"
    assert {name: size for name, size in sizes("val-tiles").items() if name == "2.jpg"} == {"2.jpg": (1280, 43)}
    [[_, x, y, width, height]] = rows(tmp_path, "train", "1-0")
    assert (x, y, width, height) == pytest.approx((0.915, 0.25, 0.03, 0.5))
    assert rows(tmp_path, "val", 2) == rows(tmp_path, "val-tiles", 2) == rows(tmp_path, "train", 1)

    # What is learnt from is what epochs are measured on; the gate measures on pictures.
    described = json.loads(dataset.data.read_text())
    again = json.loads(training_data(dataset.data, 2).read_text())
    assert (described["val"], again["val"], again["train"]) == ("images/val", "images/val-tiles", ["images/train"] * 2)
    assert [task_of(path) for path in ValSet.of(dataset.data).pictures()] == ["2"]


@pytest.mark.parametrize("turned", [1, 6])
def test_tiles_have_no_more_pixels_than_predict_looks_at(tmp_path: Path, turned: int) -> None:
    """Of a JPEG file whose tiles are shrunk by two; the gate decodes it itself."""
    size = (3000, 100) if turned == 1 else (100, 3000)
    wide = encoded(Image.new("RGB", size, "white"), "JPEG", exif=exif(turned))
    box = rectangle(x=30, y=0, width=1, height=50)
    tasks = [task(1, box, value=wide), task(2, box, value=wide, split="val")]
    images = ImageFiles(Fetcher(), tmp_path / "pictures", max_pixels=10**7, concurrency=3, image_size=640)
    views = Views(Tiling(1400, 100), ("val",))
    dataset = build(tasks, CONTROL, images, tmp_path / "dataset", check=lambda: None, views=views)
    assert dataset is not None
    folder = tmp_path / "dataset" / "images"
    assert [size_of(folder / name) for name in ("train/1-0.jpg", "train/1.jpg")] == [(700, 50), (1280, 43)]
    assert size_of(folder / "val/2.jpg") == (3000, 100)
    [[_, *found]] = rows(tmp_path, "train", "1-0")
    assert found == pytest.approx((915 / 1400, 0.25, 30 / 1400, 0.5), abs=1e-5)
    assert rows(tmp_path, "train", 1) == [pytest.approx([0, 0.305, 0.25, 0.01, 0.5])]


def test_the_val_set_keeps_all_pixels_for_a_version_that_needs_them(tmp_path: Path) -> None:
    wide = jpeg(3000, 100)
    tasks = [task(1, rectangle(), value=wide), task(2, rectangle(), value=wide, split="val")]
    images = ImageFiles(Fetcher(), tmp_path / "pictures", max_pixels=10**7, concurrency=3, image_size=640)
    views = Views(in_full=("val",))
    dataset = build(tasks, CONTROL, images, tmp_path / "dataset", check=lambda: None, views=views)
    assert dataset is not None
    folder = tmp_path / "dataset" / "images"
    assert [size_of(folder / name) for name in ("train/1.jpg", "val/2.jpg")] == [(1280, 43), (3000, 100)]
    assert training_data(dataset.data, 1) == dataset.data


def test_an_image_that_cannot_be_had_leaves_its_task_out(tmp_path: Path) -> None:
    cut_off = jpeg()[:200]
    tasks = [task(1, rectangle()), task(2, rectangle(), value="not_found"), task(3, rectangle(), value=cut_off)]
    dataset = built([*tasks, task(4, rectangle(), split="val")], tmp_path)
    assert dataset is not None
    assert dataset.counts.left_out.total() == 2
    assert [number for number, _ in dataset.counts.named] == [2, 3]
    assert not (tmp_path / "dataset" / "labels" / "train" / "2.txt").exists()


def test_a_task_that_breaks_its_reader_leaves_the_others_alone(tmp_path: Path) -> None:
    class Odd(Fetcher):
        def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
            if task_id == 2:
                raise OverflowError("a number of 400 digits")
            return super().fetch(value, task_id=task_id, deadline=deadline)

    dataset = built([task(number, rectangle()) for number in (1, 2, 3)], tmp_path, Odd())
    assert dataset is not None
    assert dataset.counts.train == 2
    assert dataset.counts.named == [(2, "unexpected error reading it (OverflowError: a number of 400 digits)")]


def test_no_image_at_all(tmp_path: Path) -> None:
    with pytest.raises(ImagesMissing, match="1 of 1 images are gone"):
        built([task(1, rectangle(), value="not_found")], tmp_path)
    with pytest.raises(NothingToLearn, match=r"not one annotated task could be used \(1 broken\)"):
        built([task(1, rectangle(), value=jpeg()[:200])], tmp_path)


def test_what_was_left_out_is_said_in_one_sentence(tmp_path: Path) -> None:
    bad = [task(1, rectangle(), value="not_found"), task(2, value=jpeg()[:200]), task(3, value="no_data")]
    dataset = built([*bad, *(task(number, rectangle()) for number in range(4, 9))], tmp_path)
    assert dataset is not None
    assert dataset.counts.remarks == (
        "3 of 8 tasks were left out (1 not_found, 1 broken, 1 no_data), the first is task 1: it is not_found"
    )
    dataset = built([task(number, rectangle()) for number in range(4, 9)], tmp_path)
    assert dataset is not None
    assert dataset.counts.remarks == ""


def test_images_that_come_slower_and_slower_are_given_up_after_a_time(tmp_path: Path) -> None:
    """Every second one comes, so there are never many in a row; each of the others took two minutes."""
    breaker = Breaker()
    for _ in range(30):
        breaker.check()
        breaker.failed(ImageError("timeout", "too late"), 120.0)
        breaker.answered()
    with pytest.raises(ImagesOutage, match="3600 s were spent on images that could not be fetched"):
        breaker.check()


@pytest.mark.parametrize("reason", ["unreachable", "no_memory"])
def test_no_image_at_all_for_a_reason_that_may_heal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(ImageFiles._fetch.retry, "sleep", lambda _: None)
    fetcher = Fetcher()
    with pytest.raises(ImagesOutage, match="1 of 1 images could not be fetched"):
        built([task(1, rectangle(), value=reason)], tmp_path, fetcher)
    assert fetcher.asked == [1, 1, 1], "such an image is asked for again"


def test_no_task_at_all_and_no_box_at_all(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="no annotated task"):
        built([], tmp_path)
    assert built([task(1), task(2, rectangle("Car"))], tmp_path) is None


@pytest.mark.parametrize(
    ("split", "said"), [("train", "7 annotated tasks are there to learn from, 0 to measure on"), ("val", "learn from")]
)
def test_what_cannot_be_measured_is_not_trained(tmp_path: Path, split: Split, said: str) -> None:
    dataset = built([task(number, rectangle(), split=split) for number in range(1, 8)], tmp_path)
    assert dataset is not None
    with pytest.raises(NothingToLearn, match=said):
        check_both_sides(CONTROL, dataset.counts)


@pytest.mark.parametrize("split", ["train", "val"])
def test_one_class_is_nothing_to_learn(tmp_path: Path, split: Split) -> None:
    other: Split = "val" if split == "train" else "train"
    control = choices_control("Oak", "Fir")
    tasks = [task(1, choice("Oak"), split=split), task(2, choice("Oak"), split=other)]
    one_class = built([*tasks, task(3, choice("Fir"), split=other)], tmp_path / "one", control=control)
    both = [task(4, choice("Fir"), split=split), task(5, choice("Fir"), split=other)]
    two_classes = built([*tasks, *both], tmp_path / "two", control=control)
    assert one_class is not None
    assert two_classes is not None
    with pytest.raises(NothingToLearn, match="one class only"):
        check_both_sides(control, one_class.counts)
    check_both_sides(control, two_classes.counts)


def test_images_are_fetched_once(tmp_path: Path) -> None:
    fetcher = Fetcher()
    for _ in range(2):
        built([task(1, rectangle()), task(2, rectangle())], tmp_path, fetcher)
    assert sorted(fetcher.asked, key=str) == [1, 2]


@pytest.mark.parametrize(
    ("data", "reason"), [(b"nothing", "unsupported"), (jpeg(9, 100), "unsupported"), (jpeg(400, 300), "too_large")]
)
def test_images_that_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as refused:
        upright(data, 100_000)
    assert refused.value.reason == reason


def control_of(tag: str, *more: str) -> Control:
    """The last control of a config with this tag."""
    return parse_label_config(f'<View><Image name="img" value="$image"/>{"".join(more)}{tag}</View>')[-1]


def region(kind: str, id: str = "a", *, control: str = "label", **value: Any) -> dict[str, Any]:
    return {"id": id, "from_name": control, "to_name": "img", "type": kind, "value": value}


POLYGONS = control_of('<PolygonLabels name="label" toName="img"><Label value="Tree"/></PolygonLabels>')
TURNED = control_of(
    '<RectangleLabels name="label" toName="img" model_obb="true"><Label value="Tree"/></RectangleLabels>'
)
SQUARE = region("polygonlabels", points=[[25, 25], [75, 25], [75, 75], [25, 75]], polygonlabels=["Tree"])


@pytest.mark.parametrize(
    ("control", "drawn", "numbers"),
    [
        pytest.param(CONTROL, rectangle(), [0, 0.5, 0.5, 0.5, 0.5], id="detect: centre and size"),
        pytest.param(TURNED, rectangle(), [0, 0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75], id="obb: four corners"),
        pytest.param(POLYGONS, SQUARE, [0, 0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75], id="segment: an outline"),
    ],
)
def test_label_files_of_each_task(
    tmp_path: Path, control: Control, drawn: dict[str, Any], numbers: list[float]
) -> None:
    broken = task(3, drawn, value=jpeg()[:200])
    dataset = built([task(1, drawn), task(2, drawn, split="val"), broken, task(4)], tmp_path, control=control)
    assert dataset is not None
    [row] = rows(tmp_path, "val", 2)
    assert row[0] == numbers[0]
    points, drawn_points = (sorted(zip(found[1::2], found[2::2], strict=True)) for found in (row, numbers))
    np.testing.assert_allclose(np.array(points), np.array(drawn_points), atol=1e-4)
    assert rows(tmp_path, "train", 4) == [], "a background image"
    counts = dataset.counts
    assert (counts.train, counts.val, counts.train_objects, counts.background) == (2, 1, 1, 1)
    assert [number for number, _ in counts.named] == [3]
    assert dataset.labels == control.label_values


def keypoint_control(*labels: str) -> Control:
    inner = "".join(f'<Label value="{label}"/>' for label in labels)
    return control_of(f'<KeyPointLabels name="label" toName="img">{inner}</KeyPointLabels>')


def test_a_pose_says_its_points(tmp_path: Path) -> None:
    control = keypoint_control("nose", "left eye", "right eye")
    points = [
        region("keypointlabels", str(number), x=x, y=y, width=1, keypointlabels=[label])
        for number, (x, y, label) in enumerate([(50, 50, "nose"), (25, 25, "left eye")])
    ]
    dataset = built([task(1, *points), task(2, *points, split="val"), task(3)], tmp_path, control=control)
    assert dataset is not None
    [row] = rows(tmp_path, "train", 1)
    assert len(row) == 5 + 3 * 3
    assert row[5:11] == pytest.approx([0.5, 0.5, 2, 0.25, 0.25, 2], abs=1e-4)
    assert row[13] == 0, "the right eye is not there"
    data = json.loads(dataset.data.read_text())
    assert (data["names"], data["kpt_shape"], data["flip_idx"]) == (["label"], [3, 3], [0, 2, 1])
    assert data["kpt_names"] == {"0": ["nose", "left eye", "right eye"]}
    assert dataset.labels == ("label", "nose", "left eye", "right eye")


def test_what_the_config_says_about_the_training_stands_beside_the_data(tmp_path: Path) -> None:
    control = control_of(
        '<RectangleLabels name="label" toName="img" model_fliplr="0" model_sides="links,rechts">'
        '<Label value="Tree" predicted_values="tree, bush"/><Label value="Rock"/></RectangleLabels>'
    )
    dataset = built([task(1, rectangle()), task(2, rectangle(), split="val")], tmp_path, control=control)
    assert dataset is not None
    said = json.loads(dataset.data.read_text())["control"]
    assert said == {
        "sides": "links,rechts",
        "fliplr": 0.0,
        "flipud": None,
        "predicted_values": {"Tree": ["tree", "bush"], "Rock": []},
    }


def test_a_file_system_without_hard_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    dataset = built([task(1, rectangle()), task(2, rectangle())], tmp_path)
    assert dataset is not None
    assert len(list((tmp_path / "dataset" / "images").rglob("*.jpg"))) == 2


def choices_control(*labels: str, more: str = "") -> Control:
    inner = "".join(f'<Choice value="{label}"/>' for label in labels)
    return control_of(f'<Choices name="kind" toName="img" {more}>{inner}</Choices>')


def choice(*chosen: str, id: str = "c", **value: Any) -> dict[str, Any]:
    return region("choices", id, control="kind", choices=list(chosen), **value)


def folders(folder: Path, split: str) -> list[list[str]]:
    """Of each class, in ultralytics' order, the names of its images."""
    return [sorted(path.stem for path in kind.iterdir()) for kind in sorted((folder / "dataset" / split).iterdir())]


def test_choices_are_folders_named_by_index(tmp_path: Path) -> None:
    control = choices_control("a/b", "..", "Zebra", "Ape", "class000001")
    tasks = [
        task(1, choice("Zebra")), task(2, choice("..")), task(3, choice("a/b"), split="val"), task(4),
        task(5, choice("Okapi")), task(6, choice("Ape"), value="not_found"),
    ]  # fmt: skip
    dataset = built(tasks, tmp_path, control=control)
    assert dataset is not None
    assert folders(tmp_path, "train") == [[], ["2"], ["1"], [], []]
    assert folders(tmp_path, "val") == [["3"], [], [], [], []]
    data = json.loads(dataset.data.read_text())
    assert data["names"] == ["a/b", "..", "Zebra", "Ape", "class000001"]
    assert not {path.name for path in (tmp_path / "dataset" / "train").iterdir()} & set(data["names"])
    counts = dataset.counts
    assert (counts.train, counts.val, counts.objects, counts.background) == (2, 1, 3, 1)
    assert (counts.foreign_labels, counts.left_out) == (1, {"unusable": 1, "not_found": 1})


def test_an_image_with_several_choices_is_in_the_folder_of_each(tmp_path: Path) -> None:
    control = choices_control("Oak", "Fir", "Ash", more='choice="multiple"')
    dataset = built([task(1, choice("Oak", "Ash"))], tmp_path, control=control)
    assert dataset is not None
    assert folders(tmp_path, "train") == [["1"], [], ["1"]]
    assert (dataset.counts.train_images, dataset.counts.train_objects) == (1, 2)


def test_no_choice_at_all_and_only_one_to_choose(tmp_path: Path) -> None:
    assert built([task(1), task(2)], tmp_path, control=choices_control("Oak", "Fir")) is None
    with pytest.raises(NothingToLearn, match="'kind' has one choice"):
        built([task(1, choice("Oak"))], tmp_path, control=choices_control("Oak"))


def test_a_part_of_a_large_picture_keeps_all_of_its_pixels(tmp_path: Path) -> None:
    """A box in a picture of 2000×1500, of which 1280×960 are kept for other controls: as many pixels as were drawn."""
    boxes = '<RectangleLabels name="box" toName="img"><Label value="Tree"/></RectangleLabels>'
    kind = '<Choices name="kind" toName="img" perRegion="true"><Choice value="Oak"/><Choice value="Fir"/></Choices>'
    place = {"x": 10, "y": 10, "width": 5, "height": 10, "rotation": 0}
    regions = [
        region("rectanglelabels", "a", control="box", rectanglelabels=["Tree"], **place),
        choice("Oak", id="a", **place),
    ]
    tasks = [task(1, *regions, value=jpeg(2000, 1500))]
    for control, made in ((control_of(kind, boxes), tmp_path / "kind"), (control_of(boxes, kind), tmp_path / "box")):
        assert built(tasks, made, control=control) is not None
    with Image.open(tmp_path / "kind" / "dataset" / "made" / "1-0.png") as image:
        assert image.size == (100, 150)
    [file] = (tmp_path / "box" / "dataset" / "images" / "train").iterdir()
    with Image.open(file) as image:
        assert image.size == (1280, 960)
    assert rows(tmp_path / "box", "train", 1) == [pytest.approx([0, 0.125, 0.15, 0.05, 0.1])]


def test_choices_of_regions_are_crops(tmp_path: Path) -> None:
    boxes = '<RectangleLabels name="box" toName="img"><Label value="Tree"/></RectangleLabels>'
    kind = '<Choices name="kind" toName="img" perRegion="true"><Choice value="Oak"/><Choice value="Fir"/></Choices>'
    places = {"a": (0, 0, 50, 50), "b": (50, 25, 50, 75), "small": (10, 10, 5, 5), "unasked": (0, 0, 99, 99)}
    regions = []
    for id, (x, y, width, height) in places.items():
        place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        regions.append(region("rectanglelabels", id, control="box", rectanglelabels=["Tree"], **place))
        if id != "unasked":
            regions.append(choice("Fir" if id == "b" else "Oak", id=id, **place))
    dataset = built([task(1, *regions), task(2)], tmp_path, control=control_of(kind, boxes))
    assert dataset is not None
    assert folders(tmp_path, "train") == [["1-0", "1-2"], ["1-1"]]
    sizes = []
    for path in sorted((tmp_path / "dataset" / "made").iterdir()):
        with Image.open(path) as image:
            sizes.append(image.size)
    assert sizes == [(32, 24), (32, 36), (4, 4)], "of 64×48 pixels"
    pictures = [np.asarray(cv2.imread(str(path))) for path in (tmp_path / "dataset" / "train").glob("*/*")]
    assert {picture.shape for picture in pictures} == {(224, 224, 3)}
    assert (dataset.counts.train, dataset.counts.train_images, dataset.counts.background) == (1, 3, 1)


def test_what_an_attempt_left_behind_is_not_learnt_from(tmp_path: Path) -> None:
    built([task(1, rectangle()), task(2, rectangle())], tmp_path)
    built([task(1, rectangle())], tmp_path)
    assert [path.name for path in (tmp_path / "dataset" / "images" / "train").iterdir()] == ["1.jpg"]


def test_what_was_drawn_with_another_tool_is_counted(tmp_path: Path) -> None:
    [control, _] = parse_label_config(
        '<View><Image name="img" value="$image"/><Rectangle name="box" toName="img"/>'
        '<Polygon name="outline" toName="img"/><Labels name="kind" toName="img"><Label value="Plane"/></Labels></View>'
    )
    value = {"points": [[10, 10], [50, 10], [50, 60]], "closed": True}
    shape = {"id": "a", "from_name": "outline", "to_name": "img", "type": "polygon", "value": value}
    named = shape | {"from_name": "kind", "type": "labels", "value": value | {"labels": ["Plane"]}}
    dataset = built([task(1, shape, named)], tmp_path, control=control)
    assert dataset is not None
    assert dataset.counts.converted == {"Polygon": 1}
    assert dataset.counts.remarks == "1 objects were drawn with another tool and converted (1 <Polygon>)"
