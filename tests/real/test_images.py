"""The images, built in chroots from the Dockerfile's own instructions, run as their user on a read-only root."""

import base64
import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from infra.local.processes import choose_port
from tests.infra.chroot_images import ChrootImages
from tests.samples.tiny_graphs import tiny_graph

REPOSITORY = Path(__file__).resolve().parents[2]
PORT_AND_STORE = {"HOST": "127.0.0.1", "LABELLOOP_STORE": "file:///tmp/store"}
LABEL_STUDIO = {"LABEL_STUDIO_URL": "http://127.0.0.1:1", "LABEL_STUDIO_API_KEY": "0" * 40}
SETUP = {
    "project": "1.1700000000",
    "schema": '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>',
    "hostname": "",
    "access_token": "",
}
WRITES = "from pathlib import Path; [Path(p, 'x').write_text('') for p in {places}]"


@pytest.fixture(scope="module")
def images(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChrootImages]:
    """Nothing built yet. The folder is removed afterwards: an image with CUDA takes 9 GB."""
    if not request.config.getoption("--images"):
        pytest.skip("building images in chroots needs root, debootstrap and 14 GB: make test-images")
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("chroots need root and debootstrap")
    folder = tmp_path_factory.mktemp("images")
    yield ChrootImages(REPOSITORY, REPOSITORY / "infra" / "docker" / "Dockerfile", folder)
    shutil.rmtree(folder)


def wait_until_healthy(function: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert function.poll() is None
        assert time.monotonic() < deadline, f"{url} does not answer"
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=2).ok:
                return
        time.sleep(0.1)


@pytest.mark.parametrize(("image", "more"), [("light", LABEL_STUDIO), ("predict", {})])
def test_a_function_answers(images: ChrootImages, image: str, more: dict[str, str], tmp_path: Path) -> None:
    images.build(image)
    port = choose_port()
    with images.process(image, {"PORT": str(port), **PORT_AND_STORE, **more}, log=tmp_path / "log") as function:
        wait_until_healthy(function, f"http://127.0.0.1:{port}/health")
        answer = requests.post(f"http://127.0.0.1:{port}/setup", json=SETUP, timeout=30)
    assert answer.json() == {"model_version": "label:base-yolo11n"}


def test_it_runs_as_the_user_of_the_image(images: ChrootImages, tmp_path: Path) -> None:
    images.build("light")
    with images.process("light", {}, ["id"], log=tmp_path / "log") as process:
        assert process.wait(30) == 0
    assert (tmp_path / "log").read_text() == "uid=10001(labelloop) gid=10001(labelloop) groups=10001(labelloop)\n"


@pytest.mark.parametrize(("places", "code"), [(["/tmp"], 0), (["/dev/shm"], 0), (["/app"], 1), (["/opt/labelloop"], 1)])
def test_only_scratch_folders_can_be_written(
    images: ChrootImages, places: list[str], code: int, tmp_path: Path
) -> None:
    images.build("light")
    with images.process("light", {}, ["python", "-c", WRITES.format(places=places)], log=tmp_path / "log") as process:
        assert process.wait(30) == code, (tmp_path / "log").read_text()


GRAPH = """
import sys, numpy as np
from pathlib import Path
from shared.inference.device import choose_device, open_engine
engine = open_engine(Path("/tmp/tiny.onnx"), choose_device("cpu", threads=1, float32=True), Path("/tmp/compiled"))
print(type(engine).__name__, engine.run(np.zeros((1, 64, 64, 3), np.uint8))[0].shape[0], "torch" in sys.modules)
"""


def test_predict_runs_a_graph_and_is_small(images: ChrootImages, tmp_path: Path) -> None:
    images.build("predict")
    graph = base64.b64encode(tiny_graph(tmp_path / "tiny.onnx").read_bytes()).decode()
    write = f"import base64; open('/tmp/tiny.onnx', 'wb').write(base64.b64decode('{graph}'))"
    with images.process("predict", {}, ["python", "-c", f"{write}\n{GRAPH}"], log=tmp_path / "log") as process:
        assert process.wait(60) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text() == "OpenVinoEngine 1 False\n"
    assert images.bytes_of("predict", "opt/labelloop") < 500e6


CUDA = """
import onnxruntime, trackers
from shared.errors import SettingsError
from shared.inference.onnxruntime_engine import OnnxRuntimeEngine
print("CUDAExecutionProvider" in onnxruntime.get_available_providers())
engine = open_engine(Path("/tmp/tiny.onnx"), choose_device("auto", threads=1, float32=True), Path("/tmp/compiled"))
print(type(engine).__name__)
for ask in (
    lambda: choose_device("cuda", threads=1, float32=True),
    lambda: OnnxRuntimeEngine(Path("/tmp/tiny.onnx"), gpu=0, threads=1, float32=True),
):
    try:
        print(ask())
    except SettingsError as error:
        print(error)
"""


def test_predict_cuda_without_a_gpu_says_so_and_runs_on_the_processor_only_unless_cuda_is_asked_for(
    images: ChrootImages, tmp_path: Path
) -> None:
    """That CUDA's libraries are complete is not proved."""
    images.build("predict-cuda")
    graph = base64.b64encode(tiny_graph(tmp_path / "tiny.onnx").read_bytes()).decode()
    write = f"import base64; open('/tmp/tiny.onnx', 'wb').write(base64.b64decode('{graph}'))"
    with images.process("predict-cuda", {}, ["python", "-c", f"{write}\n{GRAPH}\n{CUDA}"], log=tmp_path / "log") as it:
        assert it.wait(120) == 0, (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    assert "True\n" in log
    assert "OpenVinoEngine\n" in log
    assert "NVIDIA's driver shows no GPU, so the processor computes" in log
    assert "LABELLOOP_DEVICE='cuda' cannot be used: NVIDIA's driver shows 0 devices" in log
    assert "could not load it: pip install 'labelloop[predict-cuda]' brings its libraries" in log
    assert images.bytes_of("predict-cuda", "opt/labelloop") < 4.5e9


def test_a_job_says_what_it_lacks(images: ChrootImages, tmp_path: Path) -> None:
    images.build("train")
    with images.process("train", {}, log=tmp_path / "log") as job:
        assert job.wait(120) == 1
    assert "TRAIN_REQUEST" in (tmp_path / "log").read_text()


def test_the_command_is_in_the_train_image(images: ChrootImages, tmp_path: Path) -> None:
    images.build("train")
    with images.process("train", {}, ["labelloop", "settings"], log=tmp_path / "log") as command:
        assert command.wait(60) == 0, (tmp_path / "log").read_text()


def test_torch_and_opencv_can_be_imported(images: ChrootImages, tmp_path: Path) -> None:
    images.build("train")
    script = (
        "import cv2, torch, torchvision, ultralytics, lap, label_studio_sdk; print(torch.rand(2, 2) @ torch.eye(2))"
    )
    with images.process(
        "train", {"YOLO_CONFIG_DIR": "/tmp"}, ["python", "-c", script], log=tmp_path / "log"
    ) as process:
        assert process.wait(300) == 0, (tmp_path / "log").read_text()
