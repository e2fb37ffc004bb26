"""What models of every YOLO task find, with ultralytics' own predict() as the oracle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS

from functions.predict.model.loader import YoloLoader
from functions.predict.model.model import YoloModel
from functions.predict.ports import Image
from shared.geometry.detections import Detections, Outline
from shared.geometry.outlines import outline_to_runs
from shared.media.fit import squared
from shared.yolo_task import YoloTask
from tests.samples.yolo_weights import make_weights

CONFIDENCE = 0.05
Oracle = Callable[[Image], Any]


@pytest.fixture(scope="module")
def photographs() -> list[Image]:
    """Not so large that predict makes them smaller beforehand."""
    large = [np.asarray(cv2.imread(str(ASSETS / name))) for name in ("bus.jpg", "zidane.jpg")]
    upright, lying = (np.asarray(cv2.resize(image, None, fx=0.7, fy=0.7), dtype=np.uint8) for image in large)
    return [upright, lying, np.ascontiguousarray(lying[:100, :330])]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, YoloTask], tuple[YoloModel, Oracle]]:
    """Our model of an architecture, and ultralytics' with the same weights."""
    folder = tmp_path_factory.mktemp("weights")
    loader = YoloLoader(device="cpu", threads=1, iou=0.7, image_size=640, cache_dir=folder)

    def load(architecture: str, yolo_task: YoloTask) -> tuple[YoloModel, Oracle]:
        path = make_weights(folder, architecture, yolo_task)
        model, yolo = loader.load(path), YOLO(path)
        assert model.yolo_task == yolo_task
        options: dict[str, Any] = {"conf": CONFIDENCE, "iou": 0.7, "max_det": 300, "imgsz": model.image_size}
        return model, lambda image: next(iter(yolo.predict(image, verbose=False, **options)))

    return load


def find(model: YoloModel, image: Image, **options: float) -> Detections:
    found = model.submit(image, CONFIDENCE, **options).result(60)
    assert (found.height, found.width) == image.shape[:2]
    return found


@pytest.mark.parametrize("architecture", ["yolov8n", "yolo26n"])
def test_boxes(served: Any, photographs: list[Image], architecture: str) -> None:
    model, oracle = served(architecture, "detect")
    compared = 0
    for image in photographs:
        found, table = find(model, image), oracle(image).boxes.data.numpy()
        compared += len(found)
        np.testing.assert_allclose(found.xyxy, table[:, :4], atol=0.05)
        np.testing.assert_allclose(found.scores, table[:, 4], atol=1e-4)
        assert found.classes.tolist() == table[:, 5].astype(int).tolist()
    assert compared > 0


@pytest.mark.parametrize("architecture", ["yolov8n-obb", "yolo26n-obb"])
def test_rotated_boxes(served: Any, photographs: list[Image], architecture: str) -> None:
    model, oracle = served(architecture, "obb")
    compared = 0
    for image in photographs:
        found, expected = find(model, image), oracle(image).obb
        assert found.rotated is not None
        np.testing.assert_allclose(found.rotated, expected.xywhr.numpy(), atol=0.05)
        np.testing.assert_allclose(found.scores, expected.conf.numpy(), atol=1e-4)
        assert found.classes.tolist() == expected.cls.int().tolist()
        height, width = image.shape[:2]
        around = expected.xyxy.numpy().clip(0, [width, height, width, height])
        np.testing.assert_allclose(found.xyxy, around, atol=0.05)
        compared += len(found)
    assert compared > 10


@pytest.mark.parametrize("architecture", ["yolov8n-pose", "yolo26n-pose"])
def test_keypoints(served: Any, photographs: list[Image], architecture: str) -> None:
    model, oracle = served(architecture, "pose")
    compared = 0
    for image in photographs:
        found, expected = find(model, image), oracle(image)
        assert found.keypoints is not None
        np.testing.assert_allclose(found.keypoints[..., :2], expected.keypoints.xy.numpy(), atol=0.1)
        np.testing.assert_allclose(found.keypoints[..., 2], expected.keypoints.conf.numpy(), atol=1e-3)
        np.testing.assert_allclose(found.xyxy, expected.boxes.xyxy.numpy(), atol=0.05)
        compared += len(found)
    assert compared > 10


@pytest.mark.parametrize("architecture", ["yolov8n-cls", "yolo11n-cls"])
def test_class_scores(served: Any, photographs: list[Image], architecture: str) -> None:
    model, oracle = served(architecture, "classify")
    assert model.image_size == 224
    for image in (*photographs, photographs[0][:1, :1], photographs[1][:, :30]):
        found, expected = find(model, image), oracle(squared(image, 224)).probs
        assert found.class_scores is not None
        np.testing.assert_allclose(found.class_scores[0], expected.data.numpy(), atol=1e-5)
        assert (found.classes[0], found.scores[0]) == (expected.top1, pytest.approx(float(expected.top1conf), abs=1e-5))
        height, width = image.shape[:2]
        assert found.xyxy.tolist() == [[0, 0, width, height]]


def test_labels_that_look_like_codes_of_imagenet_stay_as_they_are(tmp_path: Path) -> None:
    path = make_weights(tmp_path, "yolov8n-cls", "classify", names=("n01440764", "n01443537"))
    loader = YoloLoader(device="cpu", threads=1, iou=0.7, image_size=640, cache_dir=tmp_path)
    assert loader.load(path).names[:2] == ("n01440764", "n01443537")
    assert loader.load_base(str(path)).names[:2] == ("tench", "goldfish")


@pytest.mark.parametrize("architecture", ["yolov8n-seg", "yolo26n-seg"])
def test_outlines_are_the_borders_of_masks(served: Any, photographs: list[Image], architecture: str) -> None:
    model, oracle = served(architecture, "segment")
    compared = 0
    for image in photographs:
        found, expected = find(model, image), oracle(image)
        if expected.masks is None:
            assert len(found) == 0
            continue
        masks = expected.masks.data.numpy().astype(bool)
        masks &= in_letterbox(
            (whole(image),), image, masks.shape[1:]
        )  # ultralytics' reach into what the letterbox added
        there = masks.any(axis=(1, 2))
        np.testing.assert_allclose(found.xyxy, expected.boxes.xyxy.numpy()[there], atol=0.05)
        assert found.outlines is not None
        for outline, mask in zip(found.outlines, masks[there], strict=True):
            drawn = in_letterbox(outline, image, mask.shape)
            wider, narrower = (change(mask.astype(np.uint8), np.ones((3, 3))) > 0 for change in (cv2.dilate, cv2.erode))
            assert not (drawn & ~wider).any(), "they are smoothed by less than a pixel"
            assert not (narrower & ~drawn).any()
            compared += 1
    assert compared > 10


def test_only_things_that_are_shown_get_outlines(served: Any, photographs: list[Image]) -> None:
    model, _ = served("yolov8n-seg", "segment")
    every = find(model, photographs[0])
    least = float(np.median(every.scores))
    some = find(model, photographs[0], outlined_from=least)
    assert every.outlines is not None
    assert some.outlines is not None
    sure = some.scores >= least
    assert 0 < sure.sum() < len(some)
    assert [bool(outline) for outline in some.outlines] == sure.tolist()
    assert some.scores.tolist() == every.scores.tolist()
    none = find(model, photographs[0], outlined_from=1.0)
    assert none.outlines == ((),) * len(every)


def test_overlap_that_is_allowed_is_that_of_the_question(served: Any, photographs: list[Image]) -> None:
    model, _ = served("yolov8n", "detect")
    counts = [len(find(model, photographs[0], iou=iou)) for iou in (0.1, 0.7, 0.95)]
    assert counts[0] < counts[1] < counts[2]
    assert len(find(model, photographs[0])) == counts[1]


def in_letterbox(outline: Outline, image: Image, seen: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of the model's image an outline of the image as it came holds."""
    height, width = image.shape[:2]
    gain = min(seen[0] / height, seen[1] / width)
    size = np.array([round(width * gain), round(height * gain)])
    pad = np.round((np.array([seen[1], seen[0]]) - size) / 2 - 0.1)
    rings = tuple(ring * size / [width, height] + pad for ring in outline)
    mask = np.zeros(seen, dtype=bool)
    for start, end in zip(*outline_to_runs(rings, seen[1], seen[0]), strict=True):
        mask.flat[start:end] = True
    return mask


def whole(image: Image) -> NDArray[np.float64]:
    """The ring around it."""
    height, width = image.shape[:2]
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])


@pytest.mark.parametrize("end_to_end", [True, False], ids=["weights that suppress", "weights that do not"])
def test_the_head_is_chosen_here_and_not_by_the_weights(
    photographs: list[Image], tmp_path: Path, end_to_end: bool
) -> None:
    """Of models with two heads the releases of ultralytics differ in which one a file is served with."""
    path = make_weights(tmp_path, "yolo26n", "detect")
    yolo: Any = YOLO(path)
    yolo.model.end2end = end_to_end
    yolo.save(path)
    model = YoloLoader(device="cpu", threads=1, iou=0.7, image_size=640, cache_dir=tmp_path).load(path)
    oracle: Any = YOLO(path).predict(
        photographs[0], conf=CONFIDENCE, iou=0.7, imgsz=model.image_size, nms=None, verbose=False
    )
    found = find(model, photographs[0])
    np.testing.assert_allclose(found.scores, oracle[0].boxes.conf.numpy(), atol=1e-4)
    assert len(found) > 10


def test_more_things_than_the_setting_are_cut_and_said(
    photographs: list[Image], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_weights(tmp_path, "yolov8n", "detect")
    found = {}
    for most in (300, 3):
        caplog.clear()
        loader = YoloLoader(device="cpu", threads=1, iou=0.7, image_size=640, cache_dir=tmp_path, max_objects=most)
        found[most] = find(loader.load(path), photographs[0])
        cut = [record for record in caplog.records if getattr(record, "event", "") == "objects_cut"]
        assert bool(cut) == (most == 3)
    assert len(found[300]) > len(found[3]) == 3
    np.testing.assert_allclose(found[300].scores[:3], found[3].scores)
