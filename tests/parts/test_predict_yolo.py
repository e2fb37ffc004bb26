"""Real graphs on the model threads."""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS

from jobs.train.yolo.overlaps import overlaps
from shared.errors import LabelloopError, ModelError, SettingsError
from shared.inference import cuda, engine
from shared.inference.onnxruntime_engine import OnnxRuntimeEngine
from shared.media.fit import shrunk
from shared.prediction.model.loader import GraphLoader
from shared.prediction.ports import DeviceLost, Image, NotNow
from tests.fakes.predict_parts import FakeModel
from tests.samples.graphs import Exported, make_graph


def loader(**changes: object) -> GraphLoader:
    options = {"device": "cpu", "threads": 2, "float32": True, "iou": 0.7, "image_size": 640, "base_graph": Path}
    return GraphLoader(**options | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make_graph(tmp_path_factory.mktemp("graphs"), "yolov8n", "detect")


@pytest.fixture(scope="module")
def photographs() -> list[Image]:
    """Larger than what is kept of them, but the last one."""
    upright, lying = (np.asarray(cv2.imread(str(ASSETS / name)), dtype=np.uint8) for name in ("bus.jpg", "zidane.jpg"))
    return [upright, lying, np.ascontiguousarray(lying[:100, :330])]


@pytest.mark.parametrize("image_size", [640, 333])
def test_finds_what_ultralytics_finds(exported: Exported, photographs: list[Image], image_size: int) -> None:
    model, oracle = loader(image_size=image_size).load_base(str(exported.graph)), YOLO(exported.weights)
    compared = 0
    for image in photographs:
        found = model.submit(image, 0.05).result(60)
        kept = shrunk(image, model.image_size)
        expected: Any = oracle.predict(kept, conf=0.05, iou=0.7, imgsz=image_size, max_det=300, nms=None, verbose=False)
        table = expected[0].boxes.data.cpu().numpy()
        table[:, :4] *= np.tile(np.divide(image.shape[1::-1], kept.shape[1::-1]), 2)
        assert (found.height, found.width) == image.shape[:2]
        np.testing.assert_allclose(found.xyxy, table[:, :4], atol=0.05)
        np.testing.assert_allclose(found.scores, table[:, 4], atol=1e-4)
        assert found.classes.tolist() == table[:, 5].astype(int).tolist()
        assert found.names == tuple(oracle.names.values())
        compared += len(found)
    assert compared > 10


def test_a_version_says_its_size(exported: Exported) -> None:
    assert loader().load(exported.graph).image_size == 448


def test_overlap_that_is_allowed_is_that_of_the_question(exported: Exported, photographs: list[Image]) -> None:
    model = loader().load(exported.graph)
    counts = [len(model.submit(photographs[0], 0.05, iou=iou).result(60)) for iou in (0.1, 0.7, 0.95)]
    assert counts[0] < counts[1] < counts[2]
    assert len(model.submit(photographs[0], 0.05).result(60)) == counts[1]


def test_more_objects_than_the_setting_are_cut_and_said(
    exported: Exported, photographs: list[Image], caplog: pytest.LogCaptureFixture
) -> None:
    found = {}
    for most in (300, 3):
        caplog.clear()
        found[most] = loader(max_objects=most).load(exported.graph).submit(photographs[0], 0.05).result(60)
        cut = [record for record in caplog.records if getattr(record, "event", "") == "objects_cut"]
        assert bool(cut) == (most == 3)
    assert len(found[300]) > len(found[3]) == 3
    np.testing.assert_allclose(found[300].scores[:3], found[3].scores)


def test_only_objects_that_are_shown_get_outlines(photographs: list[Image], tmp_path: Path) -> None:
    model = loader().load(make_graph(tmp_path, "yolov8n-seg", "segment").graph)
    every = model.submit(photographs[0], 0.05).result(60)
    middle = float(np.median(every.scores))
    some = model.submit(photographs[0], 0.05, outlined_from=middle).result(60)
    assert every.outlines is not None
    assert some.outlines is not None
    sure = some.scores >= middle
    assert 0 < sure.sum() < len(some)
    assert [bool(outline) for outline in some.outlines] == sure.tolist()
    none = model.submit(photographs[0], 0.05, outlined_from=1.0).result(60)
    assert none.outlines == ((),) * len(none)
    later = model.submit(photographs[0], 0.05, outlined_from=None).result(60)
    assert later.outlines is None
    (last,) = later.only(np.array([len(later) - 1])).outlined().outlines or ()
    np.testing.assert_array_equal(last[0], every.outlines[-1][0])
    assert len(later.outlined()) == len(every)


def test_what_was_compiled_is_kept_beside_the_graph_and_made_anew_if_it_is_damaged(
    exported: Exported, tmp_path: Path
) -> None:
    path, picture = tmp_path / "abc.onnx", np.zeros((48, 64, 3), np.uint8)
    path.write_bytes(exported.graph.read_bytes())
    before = loader().load(path).submit(picture, 0.0).result(60)
    (kept,) = (tmp_path / "abc.compiled").rglob("*.blob")
    kept.unlink()  # it cannot be written into
    kept.write_text("damaged")
    for _ in ("made anew", "as it was kept"):
        np.testing.assert_array_equal(loader().load(path).submit(picture, 0.0).result(60).xyxy, before.xyxy)


def test_batches_that_fail_are_halved(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loader(image_size=64).load_base(str(exported.graph))
    whole, entered, leave = model._network.engine.run, threading.Event(), threading.Event()

    def short(batch: engine.Pixels) -> engine.Outputs:
        entered.set()
        assert leave.wait(10)
        if len(batch) > 1:
            raise engine.EngineError("there is no memory")
        return whole(batch)

    monkeypatch.setattr(model._network.engine, "run", short)
    model.batch = 4
    asked = [model.submit(np.zeros((64, 64, 3), np.uint8), 0.5) for _ in range(8)]
    assert entered.wait(10)
    leave.set()
    assert [len(one.result(60)) for one in asked] == [0] * 8
    assert model.batch == 1


def test_a_lost_device_ends_the_process(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr("shared.prediction.model.model.end_process", lambda event, _: ended.append(event))
    model = loader().load(exported.graph)

    def lost(_: engine.Pixels) -> engine.Outputs:
        raise engine.DeviceLost("cuda:0 fails every call of this process: an illegal memory access")

    monkeypatch.setattr(model._network.engine, "run", lost)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        model.submit(np.zeros((64, 64, 3), np.uint8), 0.5).result(10)
    assert ended == ["device_lost"]


@pytest.mark.parametrize("content", [b"", b"GIF89a no graph"])
def test_a_file_that_is_no_graph(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.onnx"):
        loader().load(path)


def test_a_device_that_cannot_load_now_says_nothing_about_the_graph(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LabelloopError("OpenVINO cannot load weights.onnx now: no memory")

    monkeypatch.setattr("shared.prediction.model.loader.open_engine", fail)
    with pytest.raises(NotNow, match="no memory"):
        loader().load(exported.graph)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "quantum", "mps"])
def test_a_device_that_is_not_there_names_the_setting(exported: Exported, device: str) -> None:
    if device == "cuda" and cuda.devices():
        pytest.skip("this machine has CUDA")
    with pytest.raises(SettingsError, match="LABELLOOP_DEVICE"):
        loader(device=device).load(exported.graph)


@pytest.mark.filterwarnings("ignore")  # ONNX Runtime's, of the same
def test_cuda_that_cannot_be_loaded_is_an_error_with_the_remedy_and_never_the_processor(exported: Exported) -> None:
    if cuda.devices():
        pytest.skip("this machine has CUDA")
    with pytest.raises(SettingsError, match=r"could not load it: pip install 'labelloop\[predict-cuda\]' brings"):
        OnnxRuntimeEngine(exported.graph, gpu=0, threads=1, float32=True)


def test_in_fewer_bits_what_is_sure_is_found_all_the_same(exported: Exported, photographs: list[Image]) -> None:
    import openvino

    if not {"BF16", "FP16"} & set(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")):
        pytest.skip("this processor computes in float32 alone")
    exact, quick = (loader(float32=float32).load(exported.graph) for float32 in (True, False))
    sure, there = 0, 0
    for image in photographs:
        one, other = (model.submit(image, 0.08).result(60) for model in (exact, quick))
        for these, those in ((one, other), (other, one)):  # recall, precision
            these = these.only(these.scores >= 0.1)
            same = overlaps(these, those, np.zeros(0)) >= 0.8
            sure += len(these)
            there += int((same & (these.classes[:, None] == those.classes)).any(axis=1).sum())
    assert sure > 20
    assert there >= 0.95 * sure


def test_two_models_can_be_asked_from_many_threads(exported: Exported, photographs: list[Image]) -> None:
    ours = loader()
    models = [ours.load_base(str(exported.graph)), ours.load(exported.graph)]
    expected = [[model.submit(image, 0.3).result(60).scores for image in photographs] for model in models]
    problems: list[Exception] = []

    def ask(number: int) -> None:
        try:
            for index, image in enumerate(photographs):
                found = models[number % 2].submit(image, 0.3).result(60)
                np.testing.assert_allclose(found.scores, expected[number % 2][index], atol=1e-4)
        except Exception as error:  # noqa: BLE001 - told to the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not problems


def test_a_fake_model_looks_like_a_real_one(exported: Exported) -> None:
    """What the other tests use in its place has the same public face."""
    real = loader().load(exported.graph)
    image = np.zeros((48, 64, 3), np.uint8)
    for model in (real, FakeModel()):
        found = model.submit(image, 0.05).result(60)
        assert (found.width, found.height, found.xyxy.shape[1]) == (64, 48, 4)
        assert isinstance(model.names, tuple)
