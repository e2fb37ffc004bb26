"""predict as a process with real weights: swapped, tampered with, without its store; asked by a real Label Studio."""

import base64
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from label_studio_sdk.label_interface import LabelInterface
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS

from infra.demo.samples import base_weights, tiles
from infra.local.label_studio import LabelStudioServer
from shared.objectstore import ObjectStore, open_store
from shared.state.registry import Registry
from shared.yolo.base_weights import SUFFIXES
from tests.fakes.predict_parts import UID, label_config, predict_function, publish
from tests.samples.graphs import export, make_graph
from tests.samples.served_graphs import base_graph, keep_base_weights
from tests.samples.videos import panned
from tests.servers.trigger_process import eventually

NAMES = ("Tree", "Person")
SMALL = {"LABELLOOP_IMAGE_SIZE": "320"}
"""A quarter of the work, and the weights still find something."""
IMAGE = "data:image/jpeg;base64," + base64.b64encode((ASSETS / "bus.jpg").read_bytes()).decode()


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same trained weights, all classes called Tree or all called Person: an answer shows which gave it."""
    folder = tmp_path_factory.mktemp("variants")
    paths = {}
    for name in NAMES:
        model = YOLO(base_weights(), task="detect")
        model.model.names = dict.fromkeys(model.model.names, name)  # type: ignore[union-attr]
        weights = folder / f"{name}.pt"
        model.save(weights)
        paths[name] = export(weights).graph
    return paths


def setup(url: str, config: str = label_config(labels=NAMES)) -> str:
    body = {"project": UID, "schema": config, "extra_params": None}
    response = requests.post(f"{url}/setup", json=body, timeout=30)
    response.raise_for_status()
    return str(response.json()["model_version"])


def predict(
    url: str, tasks: int = 1, config: str = label_config(labels=NAMES), data: str = IMAGE
) -> list[dict[str, Any]]:
    body = {
        "tasks": [{"id": number, "data": {"image": data}} for number in range(tasks)],
        "project": UID,
        "label_config": config,
    }
    response = requests.post(f"{url}/predict", json=body, timeout=90)
    response.raise_for_status()
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def labels(predictions: list[dict[str, Any]]) -> set[str]:
    return {region["value"]["rectanglelabels"][0] for found in predictions for region in found["result"]}


@dataclass(frozen=True, slots=True)
class Round:
    """One setup and the predict after it, as a client saw them."""

    pointer: int  # version that the pointer named for sure when it began
    undisturbed: bool  # the pointer was not moved meanwhile
    said_by_setup: str
    predictions: list[dict[str, Any]]


class Clients:
    """Ask setup and predict again and again, and know how often the pointer was moved."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._changed = threading.Condition()
        self._moves = 0  # odd while the pointer is being moved
        self._ended = False
        self.rounds: list[Round] = []

    def ask(self) -> None:
        """Until the end."""
        while not self._ended:
            before = self._moves
            said = setup(self._url)
            predictions = predict(self._url, tasks=2)
            undisturbed = self._moves == before and before % 2 == 0
            with self._changed:
                self.rounds.append(Round(1 + before // 2, undisturbed, said, predictions))
                self._changed.notify_all()

    def wait(self, more: int) -> None:
        """Until so many rounds were answered."""
        with self._changed:
            enough = len(self.rounds) + more
            assert self._changed.wait_for(lambda: len(self.rounds) >= enough, 90)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """The pointer is moved inside."""
        self._moves += 1
        yield
        self._moves += 1

    def end(self) -> None:
        """After the round that each is in."""
        self._ended = True


def test_a_moved_pointer_is_served_with_no_failed_and_no_mixed_request(
    tmp_path: Path, variants: dict[str, Path]
) -> None:
    store = open_store((tmp_path / "store").as_uri())
    publish(store, variants["Tree"])  # v1 and v3: Tree, v2 and v4: Person
    with predict_function(tmp_path, LABELLOOP_POINTER_MAX_AGE="0", **SMALL) as url, ThreadPoolExecutor(4) as threads:
        clients = Clients(url)
        running = [threads.submit(clients.ask) for _ in range(4)]
        try:
            for name in ("Person", "Tree", "Person"):
                clients.wait(8)
                with clients.moving():
                    publish(store, variants[name])
            clients.wait(8)
        finally:
            clients.end()
        for future in running:
            future.result(90)  # a failed request is raised here
    for one in clients.rounds:
        stamps = {prediction["model_version"] for prediction in one.predictions}
        assert len(stamps) == 1  # one request is answered by one version
        version = int(stamps.pop().removeprefix("label:v"))
        assert version >= one.pointer  # never by an older one than the pointer named when the request came
        assert labels(one.predictions) == {NAMES[(version + 1) % 2]}  # the stamp names what really answered
        if one.undisturbed:
            assert one.said_by_setup == f"label:v{version}"
    assert {one.pointer for one in clients.rounds if one.undisturbed} == {1, 2, 3, 4}


def test_a_tampered_version_is_rejected_and_the_older_one_served(tmp_path: Path, variants: dict[str, Path]) -> None:
    store = open_store((tmp_path / "store").as_uri())
    publish(store, variants["Tree"])
    bad = publish(store, variants["Person"])
    (stored,) = (tmp_path / "store").rglob(f"{bad.files[0].sha256}/weights.onnx")
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    with predict_function(tmp_path, **SMALL) as url:
        assert labels(predictions := predict(url)) == {"Tree"}
        assert predictions[0]["model_version"] == setup(url) == "label:v1"
        assert 'version="v1"' in requests.get(f"{url}/metrics", timeout=10).text
    assert Registry(store, UID).rejected("label") == {2}
    assert "version_rejected" in (tmp_path / "predict.log").read_text()


def test_predicting_goes_on_while_the_store_is_gone(tmp_path: Path, variants: dict[str, Path]) -> None:
    publish(open_store((tmp_path / "store").as_uri()), variants["Person"])
    with predict_function(tmp_path, LABELLOOP_POINTER_MAX_AGE="0", **SMALL) as url:
        assert labels(predict(url)) == {"Person"}
        (tmp_path / "store").rename(tmp_path / "gone")
        (tmp_path / "store").write_text("no folder any more")
        for _ in range(2):
            assert labels(predictions := predict(url)) == {"Person"}
            assert predictions[0]["model_version"] == setup(url) == "label:v1"
        (tmp_path / "store").unlink()
        (tmp_path / "gone").rename(tmp_path / "store")
        publish(open_store((tmp_path / "store").as_uri()), variants["Tree"])
        assert labels(predict(url)) == {"Tree"}


def test_two_processes_share_a_cache_folder(tmp_path: Path, variants: dict[str, Path]) -> None:
    publish(open_store((tmp_path / "store").as_uri()), variants["Person"])
    with (
        predict_function(tmp_path, **SMALL) as one,
        predict_function(tmp_path, **SMALL) as other,
        ThreadPoolExecutor(2) as clients,
    ):
        assert [labels(found) for found in clients.map(predict, (one, other))] == [{"Person"}, {"Person"}]
    assert len(list((tmp_path / "cache" / "weights").glob("*.onnx"))) == 1


TREE = '<Label value="Tree"/>'
POLYGONS = f'<PolygonLabels name="poly" toName="image">{TREE}</PolygonLabels>'


def view(*controls: str) -> str:
    return f'<View><Image name="image" value="$image"/>{"".join(controls)}</View>'


ALL_CONTROLS = view(
    f'<RectangleLabels name="box" toName="image">{TREE}</RectangleLabels>',
    f'<RectangleLabels name="turned" toName="image" model_obb="true">{TREE}</RectangleLabels>',
    POLYGONS,
    f'<BrushLabels name="brush" toName="image">{TREE}</BrushLabels>',
    f'<Ellipse name="round" toName="image"/><Labels name="names" toName="image">{TREE}</Labels>',
    f'<RectangleLabels name="points_bbox" toName="image" model_skip="true">{TREE}</RectangleLabels>',
    '<KeyPointLabels name="points" toName="image">',
    '<Label value="top" model_index="0"/><Label value="foot" model_index="1"/></KeyPointLabels>',
    '<Choices name="scene" toName="image"><Choice value="Tree"/><Choice value="Town"/></Choices>',
    '<Choices name="kind" toName="image" perRegion="true"><Choice value="Tree"/></Choices>',
)
FILM_CONTROLS = (
    '<View><Video name="video" value="$image" frameRate="10"/>'
    f'<VideoRectangle name="track" toName="video"/><Labels name="kinds" toName="video">{TREE}</Labels>'
    f'<TimelineLabels name="phase" toName="video">{TREE}<Label value="Person"/></TimelineLabels></View>'
)
NAMED = ("box", "turned", "poly", "brush", "round", "points", "scene", "kind")
BASES = {"turned": "-obb", "points": "-pose", "scene": "-cls", "kind": "-cls", "box": ""}
STAMPS = {name: f"base-{'yolov8n' + BASES.get(name, '-seg') if name != 'box' else 'Tree'}" for name in NAMED}


@pytest.fixture(scope="module")
def of_every_task(tmp_path_factory: pytest.TempPathFactory, variants: dict[str, Path]) -> str:
    """LABELLOOP_BASE_WEIGHTS: a file for each YOLO task, whose classes are all called Tree."""
    folder = tmp_path_factory.mktemp("tasks")
    others = [(task, suffix) for task, suffix in SUFFIXES.items() if task != "detect"]
    files = [make_graph(folder, f"yolov8n{suffix}", task, names=("Tree",)).weights for task, suffix in others]
    return ",".join(map(str, [variants["Tree"].with_suffix(".pt"), *files]))


def add_bases(store: ObjectStore, listed: str) -> None:
    """Add the graphs beside listed weights to the store, as whoever has torch does."""
    for weights in listed.split(","):
        keep_base_weights(store, Path(weights).with_suffix(".onnx"))


def stamp(**versions: str) -> str:
    return "+".join(f"{name}:{version}" for name, version in (STAMPS | versions).items())


def check(prediction: dict[str, Any], config: str = ALL_CONTROLS, controls: tuple[str, ...] = NAMED) -> None:
    """The SDK accepts it, and each control found something."""
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    assert {region["from_name"] for region in prediction["result"]} >= set(controls)
    assert 0 < prediction["score"] < 1


class NoTorch:
    """Stands in the place of what predict must not import, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        for name in ("torch", "torchvision", "ultralytics"):
            asked = f"open({str(folder / 'asked')!r}, 'a').write({name!r})\nraise ImportError"
            (folder / f"{name}.py").write_text(asked)

    @property
    def path(self) -> str:
        """The process's PYTHONPATH."""
        return os.pathsep.join(filter(None, (str(self._folder), os.environ.get("PYTHONPATH"))))

    def was_asked_for(self) -> bool:
        return (self._folder / "asked").exists()


def every_other_route(url: str) -> list[int]:
    """What they answer: 503 is for what train_trigger answers, which nobody has named."""
    ours = ("/", "/health", "/versions", "/metrics")
    handed_on = ("/", "/webhook", "/train", "/job_status")
    answers = [requests.get(f"{url}{path}", timeout=30).status_code for path in ours]
    return answers + [requests.post(f"{url}{path}", json={}, timeout=30).status_code for path in handed_on]


def test_a_control_of_every_kind_on_one_image_and_a_film_without_torch(
    tmp_path: Path, variants: dict[str, Path], of_every_task: str
) -> None:
    store, no_torch = open_store((tmp_path / "store").as_uri()), NoTorch(tmp_path / "modules")
    add_bases(store, of_every_task)
    settings = {
        "PYTHONPATH": no_torch.path,
        "LABELLOOP_IMAGE_ROOT": str(tmp_path),
        "LABELLOOP_BASE_WEIGHTS": of_every_task,
        "LABELLOOP_POINTER_MAX_AGE": "0",
        "LABELLOOP_CONFIDENCE": "0.5",
        **SMALL,
    }
    with predict_function(tmp_path, **settings) as url:
        first, second = predict(url, tasks=2, config=ALL_CONTROLS)
        check(first)
        check(second)
        assert first["model_version"] == setup(url, ALL_CONTROLS) == stamp()
        segment = Path(next(file for file in of_every_task.split(",") if "-seg" in file)).with_suffix(".onnx")
        publish(store, segment, control="poly", yolo_task="segment")
        (after,) = predict(url, config=ALL_CONTROLS)
        check(after)
        assert after["model_version"] == setup(url, ALL_CONTROLS) == stamp(poly="v1")  # and no other control's
        publish(store, variants["Tree"], control="turned")  # before model_obb was set
        (same,) = predict(url, config=ALL_CONTROLS)
        assert same["model_version"] == setup(url, ALL_CONTROLS) == stamp(poly="v1")
        panned(tmp_path / "film.webm")
        (shown,) = predict(url, config=FILM_CONTROLS, data="/data/local-files/?d=film.webm")
        check(shown, FILM_CONTROLS, ("track", "phase"))
        assert every_other_route(url) == [200] * 4 + [503] * 4
    assert not no_torch.was_asked_for()
    log = (tmp_path / "predict.log").read_text()
    assert "v1 of 'turned' is for detect, the labeling config asks for obb now" in log
    assert "not_predicted" not in log


def test_controls_without_weights_of_their_task_wait_for_their_first_version(
    tmp_path: Path, variants: dict[str, Path], of_every_task: str
) -> None:
    both, alone = label_config("box").replace("</View>", f"{POLYGONS}</View>"), view(POLYGONS)
    base = str(variants["Tree"].with_suffix(".pt"))
    add_bases(open_store((tmp_path / "store").as_uri()), base)
    with predict_function(tmp_path, LABELLOOP_BASE_WEIGHTS=base, **SMALL) as url:
        for _ in range(2):
            (found,) = predict(url, config=both)
            assert {region["from_name"] for region in found["result"]} == {"box"}
            assert found["model_version"] == setup(url, both) == "box:base-Tree+poly:base-Tree"
        assert predict(url, config=alone) == [[]]
        segment = Path(next(file for file in of_every_task.split(",") if "-seg" in file)).with_suffix(".onnx")
        publish(open_store((tmp_path / "store").as_uri()), segment, control="poly", yolo_task="segment")
        eventually(lambda: setup(url, both) == "box:base-Tree+poly:v1", "a pointer is read again every few seconds")
        check(predict(url, config=both)[0], both, ("box", "poly"))
    log = (tmp_path / "predict.log").read_text()
    said = (
        "PolygonLabels 'poly' needs weights for segment, 'Tree.pt' are for detect: nothing is predicted for it before"
    )
    assert said in log


class Project:
    """One of the real Label Studio, with three photographs."""

    def __init__(self, server: LabelStudioServer, config: str) -> None:
        self._url, self._session = server.url, server.session()
        self.id = self.call("POST", "/api/projects/", json={"title": "trees", "label_config": config})["id"]
        uploads = {tile.name: (f"{tile.name}.jpg", tile.data, "image/jpeg") for tile in tiles()[:3]}
        self.call("POST", f"/api/projects/{self.id}/import", files=uploads)

    def call(self, method: str, path: str, **options: Any) -> Any:
        response = self._session.request(method, f"{self._url}{path}", timeout=120, **options)
        assert response.ok, response.text
        return response.json() if response.content else None

    def connect(self, url: str) -> dict[str, Any]:
        credentials = {"auth_method": "BASIC_AUTH", "basic_auth_user": "labelloop", "basic_auth_pass": "secret"}
        body = {"project": self.id, "url": url, "title": "labelloop", **credentials}
        backend: dict[str, Any] = self.call("POST", "/api/ml/", json=body)
        assert backend["state"] == "CO"
        return backend

    def retrieve(self) -> list[dict[str, Any]]:
        """Retrieve predictions, as the data manager's menu does; answer all that Label Studio holds then."""
        action = f"/api/dm/actions?id=retrieve_tasks_predictions&project={self.id}"
        self.call("POST", action, json={"selectedItems": {"all": True, "excluded": []}})
        held: list[dict[str, Any]] = self.call("GET", f"/api/predictions/?project={self.id}")
        return held


@contextmanager
def connected_function(folder: Path, server: LabelStudioServer, key: str, base_weights: str) -> Iterator[str]:
    """As an operator would run it beside that Label Studio."""
    add_bases(open_store((folder / "store").as_uri()), base_weights)
    with predict_function(
        folder,
        LABELLOOP_BASIC_AUTH_PASSWORD="secret",
        LABELLOOP_POINTER_MAX_AGE="0",
        LABEL_STUDIO_URL=server.url,
        LABEL_STUDIO_API_KEY=key,
        LABELLOOP_BASE_WEIGHTS=base_weights,
    ) as url:
        yield url
    log = (folder / "predict.log").read_text()
    assert key not in log
    assert "not_predicted" not in log


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_a_real_label_studio_stores_the_predictions_of_each_version_once(
    server: LabelStudioServer, tmp_path: Path, variants: dict[str, Path], kind: str
) -> None:
    project = Project(server, label_config(labels=NAMES))
    key = server.token if kind == "legacy" else server.personal_access_token()
    with connected_function(tmp_path, server, key, str(base_graph(tmp_path / "graph").with_suffix(".pt"))) as url:
        backend = project.connect(url)
        first = project.retrieve()
        assert [found["model_version"] for found in first] == ["label:base-ABD"] * 3
        assert (
            project.retrieve() == first
        )  # the version that setup answers is the one that predictions are stamped with

        uid = next(iter((tmp_path / "store" / "projects").iterdir())).name
        publish(open_store((tmp_path / "store").as_uri()), variants["Tree"], uid=uid)
        second = project.retrieve()
        assert [found["model_version"] for found in second].count("label:v1") == 3
        assert len(project.retrieve()) == len(second) == 6
        assert all(0 <= found["score"] <= 1 for found in second)
        versions = project.call("GET", f"/api/ml/{backend['id']}/versions")
        assert versions["versions"] == ["label:v1"]


def test_a_real_label_studio_stores_what_every_kind_of_control_found(
    server: LabelStudioServer, tmp_path: Path, of_every_task: str
) -> None:
    project = Project(server, ALL_CONTROLS)
    with connected_function(tmp_path, server, server.token, of_every_task) as url:
        project.connect(url)
        held = project.retrieve()
        assert [found["model_version"] for found in held] == [stamp()] * 3
        assert project.retrieve() == held
    interface = LabelInterface(ALL_CONTROLS)
    for found in held:
        assert interface.validate_prediction(found, return_errors=True) == []
    assert {region["from_name"] for found in held for region in found["result"]} >= set(NAMED)
