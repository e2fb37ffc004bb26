"""Options of the tests that need the real world."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager

from infra.local.label_studio import LabelStudioServer, label_studio
from jobs.train.checkpoints.spool import Spool
from jobs.train.yolo.trainer import YoloTrainer
from tests.fakes.train_parts import yolo_trainer
from tests.servers.kubernetes_server import KubernetesServer, build, kubernetes_server
from tests.servers.ray_cluster import RayCluster, ray_cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--screenshot FILE` also makes the README's picture, `--screenshots FOLDER` those of docs/controls.md,
    `--ui-pictures FOLDER` those of docs/ui.md.

    `--cold-start SECONDS`: how long the scale-to-zero test lets predict take to start.
    `--images`: also build the images in chroots.
    `--kubernetes`: also the tests against a real API server, which is built once.
    """
    parser.addoption(
        "--screenshot", type=Path, help="train as long as the demo does and keep the picture of Label Studio here"
    )
    parser.addoption(
        "--screenshots", type=Path, help="keep a picture of Label Studio with each control's predictions here"
    )
    parser.addoption("--ui-pictures", type=Path, help="keep pictures of train_trigger's page here")
    parser.addoption(
        "--cold-start", type=float, default=3.0, help="seconds until a sleeping machine starts predict's process"
    )
    parser.addoption("--images", action="store_true", help="build the images in chroots, as root")
    parser.addoption("--kubernetes", action="store_true", help="test against a real Kubernetes API server")


@pytest.fixture(scope="session")
def kubernetes(request: pytest.FixtureRequest) -> Iterator[KubernetesServer]:
    """A cluster without machines for the whole session."""
    if not request.config.getoption("--kubernetes"):
        pytest.skip("kube-apiserver takes 10 minutes to build, once: make test-kubernetes")
    captured: CaptureManager | None = request.config.pluginmanager.get_plugin("capturemanager")
    with captured.global_and_fixture_disabled() if captured else nullcontext():
        archive = build(print)
    with tempfile.TemporaryDirectory() as folder, kubernetes_server(archive, Path(folder)) as server:
        yield server  # pytest's own folder would stay, 300 MB


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A Label Studio for the whole session, which may call private addresses: each test makes its own project."""
    folder = tmp_path_factory.mktemp("label-studio")
    with label_studio(folder / "data", say=lambda _: None) as running:
        yield running


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """A Ray cluster for the whole session."""
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[YoloTrainer]:
    """ultralytics, on the processor."""
    with yolo_trainer(tmp_path, threads=1) as ready:
        yield ready


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """The epochs of a training that may take an hour."""
    return Spool(tmp_path / "spool", tmp_path / "abort", time.time() + 3600)
