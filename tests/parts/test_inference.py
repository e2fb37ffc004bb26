"""Graphs on every engine that processors have, with ultralytics' own predict() on the same weights as the oracle."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.train.yolo.overlaps import overlaps
from shared.errors import ModelError
from shared.geometry.detections import Detections, Floats, Ints, Outline, clip_xyxy, envelope, xywhr_to_corners
from shared.geometry.outlines import outline_to_runs
from shared.geometry.tiles import Tiling
from shared.inference.engine import Engine, Pixels
from shared.inference.graph import read_graph
from shared.inference.network import Network
from shared.inference.onnxruntime_engine import OnnxRuntimeEngine
from shared.inference.openvino_engine import OpenVinoEngine
from shared.media.fit import squared
from shared.yolo_task import YoloTask
from tests.samples.graphs import Exported, make_graph

CONFIDENCE = 0.05
ENGINES: dict[str, Callable[[Path], Engine]] = {
    "openvino": lambda path: OpenVinoEngine(path, threads=2, streams=2, float32=True, cache_dir=None),
    "onnxruntime": lambda path: OnnxRuntimeEngine(path, gpu=None, threads=2),
}
Case = tuple[str, YoloTask, bool]  # architecture, YOLO task, end to end
BOXES: list[Case] = [
    ("yolov8n", "detect", False),
    ("yolo11n", "detect", False),
    ("yolo12n", "detect", False),
    ("yolo26n", "detect", False),
    ("yolo26n", "detect", True),
]
ROTATED: list[Case] = [("yolov8n-obb", "obb", False), ("yolo26n-obb", "obb", False)]
POINTS: list[Case] = [("yolov8n-pose", "pose", False), ("yolo26n-pose", "pose", False)]
OUTLINES: list[Case] = [("yolov8n-seg", "segment", False), ("yolo26n-seg", "segment", False)]
CLASSES: list[Case] = [("yolov8n-cls", "classify", False), ("yolo26n-cls", "classify", False)]
EVERY = [*BOXES, *ROTATED, *POINTS, *OUTLINES, *CLASSES]
SURE = 0.1  # confidence


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def photographs() -> list[Pixels]:
    """Upright, lying, a strip of an odd size; not so large that they are made smaller beforehand."""
    from ultralytics.utils import ASSETS

    large = [np.asarray(cv2.imread(str(ASSETS / name))) for name in ("bus.jpg", "zidane.jpg")]
    upright, lying = (np.asarray(cv2.resize(image, None, fx=0.7, fy=0.7), dtype=np.uint8) for image in large)
    return [upright, lying, np.ascontiguousarray(lying[:101, :331])]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Exported]:
    """Each graph is exported once."""
    folder, made = tmp_path_factory.mktemp("graphs"), dict[Case, Exported]()

    def export(case: Case) -> Exported:
        if case not in made:
            architecture, yolo_task, end_to_end = case
            made[case] = make_graph(folder / str(len(made)), architecture, yolo_task, end_to_end=end_to_end)
        return made[case]

    return export


@pytest.fixture(scope="module")
def expected(exported: Any, photographs: list[Pixels]) -> Callable[[Case], list[Any]]:
    """What ultralytics finds in each photograph."""
    from ultralytics.models import YOLO

    results: dict[Case, list[Any]] = {}

    def ask(case: Case) -> list[Any]:
        if case not in results:
            classify = case[1] == "classify"
            yolo: Any = YOLO(exported(case).weights)
            size = read_graph(exported(case).graph).image_size
            options: dict[str, Any] = {"conf": CONFIDENCE, "iou": 0.7, "max_det": 300, "imgsz": size, "verbose": False}
            images = [squared(image, size) if classify else image for image in photographs]
            results[case] = [
                yolo.predict(image, nms=False if case[2] else None, **options)[0].cpu() for image in images
            ]
        return results[case]

    return ask


@pytest.fixture
def network(engine: str, exported: Any) -> Callable[[Case], Network]:
    def load(case: Case) -> Network:
        path = exported(case).graph
        return Network(ENGINES[engine](path), read_graph(path))

    return load


def find(network: Network, image: Pixels) -> Detections:
    found = network.find(image, CONFIDENCE)
    assert (found.height, found.width) == image.shape[:2]
    return found


@pytest.mark.parametrize("case", BOXES, ids=str)
def test_boxes(network: Any, expected: Any, photographs: list[Pixels], case: Case) -> None:
    ours, compared = network(case), 0
    for image, theirs in zip(photographs, expected(case), strict=True):
        found = find(ours, image)
        compared += len(same_boxes(found, theirs.boxes)[0])
    assert compared > 10


@pytest.mark.parametrize("case", ROTATED, ids=str)
def test_rotated_boxes(network: Any, expected: Any, photographs: list[Pixels], case: Case) -> None:
    ours, compared = network(case), 0
    for image, theirs in zip(photographs, expected(case), strict=True):
        found, obb = find(ours, image), theirs.obb
        height, width = image.shape[:2]
        around = obb.xyxy.numpy().clip(0, [width, height, width, height])
        which, other = paired(found, around, obb.conf.numpy(), obb.cls.numpy())
        assert found.rotated is not None
        np.testing.assert_allclose(found.rotated[which], obb.xywhr.numpy()[other], atol=0.05)
        compared += len(which)
    assert compared > 10


@pytest.mark.parametrize("case", POINTS, ids=str)
def test_keypoints(network: Any, expected: Any, photographs: list[Pixels], case: Case) -> None:
    ours, compared = network(case), 0
    for image, theirs in zip(photographs, expected(case), strict=True):
        found = find(ours, image)
        which, other = same_boxes(found, theirs.boxes)
        assert found.keypoints is not None
        points = found.keypoints[which]
        np.testing.assert_allclose(points[..., :2], theirs.keypoints.xy.numpy()[other], atol=0.1)
        np.testing.assert_allclose(points[..., 2], theirs.keypoints.conf.numpy()[other], atol=1e-3)
        compared += len(which)
    assert compared > 10


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_class_scores(network: Any, expected: Any, photographs: list[Pixels], case: Case) -> None:
    ours = network(case)
    assert ours.image_size == 224
    for image, theirs in zip(photographs, expected(case), strict=True):
        found = find(ours, image)
        assert found.class_scores is not None
        np.testing.assert_allclose(found.class_scores[0], theirs.probs.data.numpy(), atol=1e-5)
        height, width = image.shape[:2]
        assert found.xyxy.tolist() == [[0, 0, width, height]]


@pytest.mark.parametrize("case", OUTLINES, ids=str)
def test_outlines_are_the_borders_of_masks(network: Any, expected: Any, photographs: list[Pixels], case: Case) -> None:
    ours, compared, strays = network(case), 0, list[float]()
    for image, theirs in zip(photographs, expected(case), strict=True):
        found = find(ours, image)
        if theirs.masks is None:
            assert len(found) == 0
            continue
        masks = theirs.masks.data.numpy().astype(bool)
        masks &= in_letterbox((whole(image),), image, masks.shape[1:])  # theirs reach into what the letterbox added
        there = masks.any(axis=(1, 2))
        which, other = same_boxes(found, theirs.boxes[there])
        assert found.outlines is not None
        for outline, mask in zip([found.outlines[index] for index in which], masks[there][other], strict=True):
            drawn = in_letterbox(outline, image, mask.shape)
            wider, narrower = (change(mask.astype(np.uint8), np.ones((3, 3))) > 0 for change in (cv2.dilate, cv2.erode))
            strays.append(((drawn & ~wider) | (narrower & ~drawn)).sum() / mask.sum())
            compared += 1
    assert compared > 10
    assert np.mean(strays) < 0.001, (
        "they are smoothed by less than a pixel; where a mask all but ends, rounding decides"
    )


@pytest.mark.parametrize("case", [case for case in EVERY if case[0].startswith("yolov8n")], ids=str)
def test_in_fewer_bits_what_is_sure_is_found_all_the_same(exported: Any, photographs: list[Pixels], case: Case) -> None:
    """Of weights that were trained: in random ones a rounding in the first layer decides over the last."""
    import openvino

    if not {"BF16", "FP16"} & set(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")):
        pytest.skip("this processor computes in float32 alone")
    graph = exported(case).graph
    exact, quick = (
        Network(OpenVinoEngine(graph, threads=2, streams=1, float32=float32, cache_dir=None), read_graph(graph))
        for float32 in (True, False)
    )
    images = [*photographs, *(np.ascontiguousarray(image[:, ::-1]) for image in photographs)]
    pairs: list[list[Any]] = [[network.find(image, SURE - 0.02) for network in (exact, quick)] for image in images]
    if case[1] == "classify":
        for one, other in pairs:
            np.testing.assert_allclose(one.class_scores, other.class_scores, atol=0.01)
        return
    for those, these in ((0, 1), (1, 0)):  # precision, recall
        sure = [pair[these].only(pair[these].scores >= SURE) for pair in pairs]
        again = sum(map(found_again, sure, (pair[those] for pair in pairs)))
        assert sum(map(len, sure)) > 50
        assert again >= 0.95 * sum(map(len, sure))


def found_again(sure: Detections, others: Detections) -> int:
    """How many lie where another one of the same class does."""
    alike = overlaps(sure, others, np.full(17, 0.1)) >= 0.75
    return int((alike & (sure.classes[:, None] == others.classes)).any(axis=1).sum())


def test_a_batch_finds_what_its_images_have_one_by_one(network: Any, photographs: list[Pixels]) -> None:
    from shared.inference.outputs import Question

    ours, lying = network(BOXES[0]), photographs[1]
    images = [lying, np.ascontiguousarray(lying[:, ::-1]), lying]
    questions = [Question(ours.fit(image), (image.shape[0], image.shape[1]), CONFIDENCE) for image in images]
    for together, image in zip(ours.run(questions), images, strict=True):
        np.testing.assert_allclose(together.xyxy, find(ours, image).xyxy, atol=0.1)


@pytest.mark.parametrize("case", [BOXES[0], ROTATED[0], POINTS[0], OUTLINES[0]], ids=str)
def test_what_is_found_in_tiles_lies_in_the_picture(network: Any, photographs: list[Pixels], case: Case) -> None:
    ours, picture = network(case), photographs[0]
    height, width = picture.shape[:2]
    ours.tiling = Tiling(400, 80)
    found = find(ours, picture)
    assert 10 < len(found) <= 300
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [width, height, width, height]).all()
    for index, shape in enumerate(found.outlines or ()):
        points = np.concatenate(shape)
        assert (points >= found.xyxy[index, :2] - 4).all()
        assert (points <= found.xyxy[index, 2:] + 4).all()
    if found.rotated is not None:
        around = clip_xyxy(envelope(xywhr_to_corners(found.rotated)), width, height)
        np.testing.assert_allclose(found.xyxy, around)  # at the border of the picture, not of a tile
    if found.keypoints is not None:
        assert found.keypoints.shape == (len(found), *ours.graph.point_shape)
        assert (found.keypoints[..., :2].max(axis=(0, 1)) > 400).any(), "they are those of the picture"


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (640, 640), (1399, 61)])
def test_odd_sizes(network: Any, engine: str, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = network(BOXES[0]).find(noise, 0.001)
    assert (found.height, found.width) == size
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= np.tile(size[::-1], 2)).all()


_SHORT = """
import resource, sys
from pathlib import Path
import numpy as np
from shared.inference.engine import EngineError
from tests.parts.test_inference import ENGINES

engine = ENGINES[sys.argv[1]](Path(sys.argv[2]))
engine.run(np.zeros((1, 320, 320, 3), np.uint8))
batch = np.zeros((64, 320, 320, 3), np.uint8)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 100 * 2**20, resource.RLIM_INFINITY))
try:
    engine.run(batch)
except EngineError as error:
    print("failed" in str(error))
print(len(engine.run(batch[:1])))
"""


def test_memory_that_is_really_short_is_an_error_and_smaller_batches_go_on(engine: str, exported: Any) -> None:
    command = [sys.executable, "-c", _SHORT, engine, str(exported(BOXES[0]).graph)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["True", "1"]


def test_a_file_that_is_no_network(engine: str, tmp_path: Path, exported: Any) -> None:
    data = exported(BOXES[0]).graph.read_bytes()
    path = tmp_path / "weights.onnx"
    path.write_bytes(data[: len(data) // 2] + data[-3000:])
    with pytest.raises(ModelError, match=r"weights\.onnx"):
        ENGINES[engine](path)


def same_boxes(found: Detections, boxes: Any) -> tuple[Ints, Ints]:
    """As `paired`; `boxes` are ultralytics'."""
    return paired(found, boxes.xyxy.numpy(), boxes.conf.numpy(), boxes.cls.numpy())


def paired(found: Detections, xyxy: Floats, scores: Floats, classes: Floats) -> tuple[Ints, Ints]:
    """Indices of ours and of theirs that are the same, all but one in fifty of both.

    Where scores or overlaps are all but equal, rounding decides about order and suppression.
    """
    corner = np.maximum(found.xyxy[:, None, :2], xyxy[None, :, :2])
    size = np.clip(np.minimum(found.xyxy[:, None, 2:], xyxy[None, :, 2:]) - corner, 0, None)
    common = size.prod(axis=2)
    area, other = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (found.xyxy, xyxy))
    overlap = common / np.maximum(area[:, None] + other - common, 1e-9)
    alike = (overlap >= 0.99) & (found.classes[:, None] == classes) & (np.abs(found.scores[:, None] - scores) < 1e-3)
    closest = np.where(alike, overlap, 0.0).argmax(axis=1) if len(xyxy) else np.zeros(len(found), dtype=np.int64)
    which = np.flatnonzero(alike.any(axis=1))
    most = max(len(found), len(xyxy))
    assert len(which) >= 0.98 * len(found) and alike.any(axis=0).sum() >= 0.98 * len(xyxy), (len(which), most)  # noqa: PT018
    return which, closest[which]


def in_letterbox(outline: Outline, image: Pixels, seen: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels of what the network saw an outline of the picture as it came holds."""
    height, width = image.shape[:2]
    gain = min(seen[0] / height, seen[1] / width)
    size = np.array([round(width * gain), round(height * gain)])
    pad = np.round((np.array([seen[1], seen[0]]) - size) / 2 - 0.1)
    rings = tuple(ring * size / [width, height] + pad for ring in outline)
    mask = np.zeros(seen, dtype=bool)
    for start, end in zip(*outline_to_runs(rings, seen[1], seen[0]), strict=True):
        mask.flat[start:end] = True
    return mask


def whole(image: Pixels) -> Floats:
    """The ring around it."""
    height, width = image.shape[:2]
    return np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
