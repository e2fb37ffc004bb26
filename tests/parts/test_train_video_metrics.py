"""Real weights follow the objects in a film; what predict says about it is taken for the expert's annotation."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
import pytest
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS

from infra.demo.samples import base_weights
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.training import Contender, TrainingSettings
from jobs.train.yolo.tracking import track_metrics
from shared.evolve import evolve
from shared.inference.device import choose_device, open_engine
from shared.inference.graph import read_graph
from shared.inference.network import Network
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.prediction.plan import plan_control
from shared.prediction.video.predictor import VideoPredictor
from shared.settings import Settings
from tests.fakes.predict_parts import FAR
from tests.samples.served_graphs import base_graph, quick_loader
from tests.samples.videos import write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photograph = cv2.imread(str(ASSETS / "bus.jpg"))
    assert photograph is not None
    views = [photograph[100 + 6 * n : 900 + 6 * n, 2 * n : 760 + 2 * n] for n in range(8)]
    path = tmp_path_factory.mktemp("video") / "pan.webm"
    return write_video(path, [cv2.resize(view, (380, 400)).astype(np.uint8) for view in views])


@pytest.fixture(scope="module")
def control() -> Control:
    """One label, for all classes that the weights know."""
    named = quoteattr(",".join(name for name in YOLO(base_weights(), task="detect").names.values() if "," not in name))
    return parse_label_config(
        '<View><Video name="video" value="$video" frameRate="25"/><VideoRectangle name="box" toName="video"/>'
        f'<Labels name="kind" toName="video"><Label value="Thing" predicted_values={named}/></Labels></View>'
    )[0]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_graph(tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def network(graph: Path) -> Network:
    engine = open_engine(graph, choose_device("cpu", threads=1, float32=True))
    return Network(engine, read_graph(graph), image_size=320)


@pytest.fixture
def base(graph: Path, control: Control) -> Contender:
    return Contender(graph, control, TrainingSettings.of({}, Settings()), trained=False)


def test_a_graph_agrees_with_itself(film: Path, base: Contender, network: Network) -> None:
    class Files:
        def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
            return film.read_bytes()

    model = quick_loader(image_size=320).load_base(str(base.graph))
    plan = plan_control(base.control, model.names, trained=False, settings=Settings())
    said = VideoPredictor(Files(), max_pixels=10**7).regions(plan, model, "", task_id=1, deadline=FAR, data={})
    assert len(said.regions) > 3
    task = SnapshotTask(id=1, annotation=1, updated_at=None, split="val", data={}, regions=said.regions)

    def scores(annotated: SnapshotTask) -> dict[str, float]:
        return track_metrics(network, base, [(annotated, film)], 10**6)["1"].scores()

    same = scores(task)
    assert same["IDF1"] > 0.95
    assert same["MOTA"] > 0.9
    assert scores(evolve(task, regions=said.regions[::2]))["MOTA"] < same["MOTA"]


def test_no_video_no_metrics(base: Contender, network: Network) -> None:
    assert track_metrics(network, base, [], 10**6) == {}


def test_a_video_that_cannot_be_decoded_is_left_out(
    base: Contender, network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "page").write_text("<html>")
    task = SnapshotTask(id=7, annotation=1, updated_at=None, split="val", data={}, regions=[])
    assert track_metrics(network, base, [(task, tmp_path / "page")], 10**6) == {}
    assert "video of task 7" in caplog.text
