"""Real weights on the model thread, with ultralytics' own predict() as the oracle."""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS

from functions.predict.model.loader import YoloLoader
from functions.predict.ports import NotNow
from infra.demo.samples import base_weights
from shared.errors import LabelloopError, ModelError, SettingsError
from shared.media.fit import shrunk
from shared.yolo.base_weights import base_weights_file
from tests.fakes.predict_parts import FakeModel


def loader(cache_dir: Path, **changes: object) -> YoloLoader:
    options = {"device": "cpu", "threads": 1, "iou": 0.7, "image_size": 640} | changes
    return YoloLoader(cache_dir=cache_dir, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def weights() -> Path:
    return base_weights()


@pytest.fixture(scope="module")
def photographs() -> list[NDArray[np.uint8]]:
    upright = cv2.imread(str(ASSETS / "bus.jpg"))
    lying = cv2.imread(str(ASSETS / "zidane.jpg"))
    assert upright is not None
    assert lying is not None
    return [upright, lying, np.ascontiguousarray(lying[:100, :330])]  # type: ignore[list-item]


@pytest.mark.parametrize("image_size", [640, 333])
def test_finds_what_ultralytics_finds(
    weights: Path, photographs: list[NDArray[np.uint8]], tmp_path: Path, image_size: int
) -> None:
    model = loader(tmp_path, image_size=image_size).load_base(str(weights))
    oracle = YOLO(weights, task="detect")
    compared = 0
    for image in photographs:
        found = model.submit(image, 0.05).result(60)
        kept = shrunk(image, model.image_size)
        expected: Any = oracle.predict(kept, conf=0.05, iou=0.7, imgsz=image_size, max_det=300, verbose=False)
        table = expected[0].boxes.data.cpu().numpy()
        table[:, :4] *= np.tile(np.divide(image.shape[1::-1], kept.shape[1::-1]), 2)
        assert (found.height, found.width) == image.shape[:2]
        np.testing.assert_allclose(found.xyxy, table[:, :4], atol=0.05)
        np.testing.assert_allclose(found.scores, table[:, 4], atol=1e-4)
        assert found.classes.tolist() == table[:, 5].astype(int).tolist()
        assert found.names == tuple(oracle.names.values())
        compared += len(found)
    assert compared > 10


def test_a_batch_finds_what_its_images_have_one_by_one(
    weights: Path, photographs: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    model = loader(tmp_path).load_base(str(weights))
    lying = photographs[1]
    images = [lying, np.ascontiguousarray(lying[:, ::-1]), lying]
    single = [model.submit(image, 0.1).result(60) for image in images]
    assert all(len(one) for one in single)
    model.batch = 3
    together = [model.submit(image, 0.1) for image in images]
    for one, other in zip(single, together, strict=True):
        np.testing.assert_allclose(one.xyxy, other.result(60).xyxy, atol=0.1)


@pytest.mark.parametrize(
    "error",
    [
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
        "could not create a primitive",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_whatever_torch_says_when_memory_is_short_makes_batches_smaller(
    weights: Path, tmp_path: Path, error: str
) -> None:
    model = loader(tmp_path, image_size=64).load_base(str(weights))
    whole = model._backend

    class Short:
        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

        def __call__(self, batch: torch.Tensor) -> Any:
            if len(batch) > 1:
                raise RuntimeError(error)
            return whole(batch)

    model._backend = Short()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        leave.wait(10)

    waits = threading.Thread(target=model._thread.call, args=(hold,))
    waits.start()
    assert entered.wait(10)
    asked = [model.submit(np.zeros((64, 64, 3), np.uint8), 0.5) for _ in range(4)]
    leave.set()
    assert [len(one.result(60)) for one in asked] == [0, 0, 0, 0]
    assert model.batch == 1
    waits.join(10)


def test_the_model_thread_uses_the_threads_that_were_set(weights: Path, tmp_path: Path) -> None:
    ours = loader(tmp_path, threads=2)
    ours.load_base(str(weights))
    YOLO(weights, task="detect").predict(np.zeros((64, 64, 3), np.uint8), verbose=False)  # caps torch, elsewhere
    assert ours._started is not None
    assert ours._started[1].call(torch.get_num_threads) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be loaded"), (b"GIF89a no weights", "cannot be loaded"), ("text", "cannot be loaded")],
)
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes | str, message: str) -> None:
    path = tmp_path / "weights.pt"
    if isinstance(content, str):
        torch.save({"model": content}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        loader(tmp_path).load(path)


def test_a_pickle_that_calls_something_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only classes of torch and ultralytics are unpickled, as ultralytics_environ() sets it for the function."""
    monkeypatch.setattr("ultralytics.nn.tasks.SAFE_LOAD", True)

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "evil was here",))

    torch.save({"model": Evil()}, tmp_path / "weights.pt")
    with pytest.raises(ModelError):
        loader(tmp_path).load(tmp_path / "weights.pt")
    assert not (tmp_path / "evil was here").exists()


def test_a_failing_gpu_says_nothing_about_the_weights(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a call failed, every later one does: version after version would be rejected."""

    def fail(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("ultralytics.nn.autobackend.AutoBackend", fail)
    with pytest.raises(NotNow, match="illegal memory access"):
        loader(tmp_path).load(weights)


def test_weights_for_a_task_that_is_not_served_are_refused(tmp_path: Path) -> None:
    other = YOLO("yolo26n-sem.yaml", task="semantic")
    other.save(tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"weights\.pt is a semantic model: labelloop serves detect"):
        loader(tmp_path).load(tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["/nowhere/weights.pt", "folder/weights.pt", "no-such-model.pt"])
def test_base_weights_that_cannot_be_had_name_the_setting(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # no internet
    with pytest.raises(ModelError, match=r"base weights '.*set LABELLOOP_BASE_WEIGHTS to \.pt files"):
        loader(tmp_path).load_base(name)


def test_a_download_of_base_weights_that_failed_may_heal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no internet")

    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", fail)
    with pytest.raises(LabelloopError, match=r"base weights 'yolov8x-oiv7\.pt' could not be") as caught:
        base_weights_file("yolov8x-oiv7.pt", tmp_path)
    assert not isinstance(caught.value, ModelError), "it would fail a run at once"


@pytest.mark.parametrize("device", ["cuda", "quantum"])
def test_a_device_that_is_not_there_names_the_setting(weights: Path, tmp_path: Path, device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(SettingsError, match="LABELLOOP_DEVICE"):
        loader(tmp_path, device=device).load_base(str(weights))


def test_two_models_can_be_asked_from_many_threads(
    weights: Path, photographs: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    ours = loader(tmp_path)
    models = [ours.load_base(str(weights)), ours.load(weights)]
    expected = [models[0].submit(image, 0.3).result(60).scores for image in photographs]
    problems: list[Exception] = []

    def ask(number: int) -> None:
        try:
            for index, image in enumerate(photographs):
                found = models[number % 2].submit(image, 0.3).result(60)
                np.testing.assert_allclose(found.scores, expected[index], atol=1e-4)
        except Exception as error:  # noqa: BLE001 - told to the test's own thread
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not problems


def test_a_fake_model_looks_like_a_real_one(weights: Path, tmp_path: Path) -> None:
    """What the other tests use in its place has the same public face."""
    real = loader(tmp_path).load_base(str(weights))
    image = np.zeros((48, 64, 3), np.uint8)
    for model in (real, FakeModel()):
        found = model.submit(image, 0.05).result(60)
        assert (found.width, found.height, found.xyxy.shape[1]) == (64, 48, 4)
        assert isinstance(model.names, tuple)
