"""predict as a process with real weights: swapped, tampered with, without its store; asked by a real Label Studio."""

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS

from infra.local.label_studio import LabelStudioServer, label_studio
from infra.local.samples import base_weights, tiles
from shared.objectstore import open_store
from shared.registry import Registry
from tests.predict_parts import UID, label_config, predict_function, publish

NAMES = ("Tree", "Person")
IMAGE = "data:image/jpeg;base64," + base64.b64encode((ASSETS / "bus.jpg").read_bytes()).decode()


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same trained weights, all classes called Tree or all called Person: an answer shows which gave it."""
    folder = tmp_path_factory.mktemp("variants")
    paths = {}
    for name in NAMES:
        model = YOLO(base_weights(), task="detect")
        model.model.names = dict.fromkeys(model.model.names, name)  # type: ignore[union-attr]
        paths[name] = folder / f"{name}.pt"
        model.save(paths[name])
    return paths


def setup(url: str) -> str:
    body = {"project": UID, "schema": label_config(labels=NAMES), "extra_params": None}
    response = requests.post(f"{url}/setup", json=body, timeout=30)
    response.raise_for_status()
    return str(response.json()["model_version"])


def predict(url: str, tasks: int = 1) -> list[dict[str, Any]]:
    body = {
        "tasks": [{"id": number, "data": {"image": IMAGE}} for number in range(tasks)],
        "project": UID,
        "label_config": label_config(labels=NAMES),
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
    with predict_function(tmp_path, LABELLOOP_POINTER_MAX_AGE="0") as url, ThreadPoolExecutor(4) as threads:
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
    (stored,) = (tmp_path / "store").rglob(f"{bad.files[0].sha256}/weights.pt")
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    with predict_function(tmp_path) as url:
        assert labels(predictions := predict(url)) == {"Tree"}
        assert predictions[0]["model_version"] == setup(url) == "label:v1"
        assert 'version="v1"' in requests.get(f"{url}/metrics", timeout=10).text
    assert Registry(store, UID).rejected("label") == {2}
    assert "version_rejected" in (tmp_path / "predict.log").read_text()


def test_predicting_goes_on_while_the_store_is_gone(tmp_path: Path, variants: dict[str, Path]) -> None:
    publish(open_store((tmp_path / "store").as_uri()), variants["Person"])
    with predict_function(tmp_path, LABELLOOP_POINTER_MAX_AGE="0") as url:
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
    with predict_function(tmp_path) as one, predict_function(tmp_path) as other, ThreadPoolExecutor(2) as clients:
        assert [labels(found) for found in clients.map(predict, (one, other))] == [{"Person"}, {"Person"}]
    assert len(list((tmp_path / "cache" / "weights").iterdir())) == 1


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    with label_studio(tmp_path_factory.mktemp("label-studio"), say=lambda _: None) as server:
        yield server


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_a_real_label_studio_stores_the_predictions_of_each_version_once(
    studio: LabelStudioServer, tmp_path: Path, variants: dict[str, Path], kind: str
) -> None:
    session = studio.session()

    def call(method: str, path: str, **options: Any) -> Any:
        response = session.request(method, f"{studio.url}{path}", timeout=120, **options)
        assert response.ok, response.text
        return response.json() if response.content else None

    project = call("POST", "/api/projects/", json={"title": "trees", "label_config": label_config(labels=NAMES)})["id"]
    uploads = {tile.name: (f"{tile.name}.jpg", tile.data, "image/jpeg") for tile in tiles()[:3]}
    call("POST", f"/api/projects/{project}/import", files=uploads)

    def retrieve() -> list[dict[str, Any]]:
        """Retrieve predictions, as the data manager's menu does; answer all that Label Studio holds then."""
        action = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
        call("POST", action, json={"selectedItems": {"all": True, "excluded": []}})
        held: list[dict[str, Any]] = call("GET", f"/api/predictions/?project={project}")
        return held

    key = studio.token if kind == "legacy" else studio.personal_access_token()
    secrets = {"LABELLOOP_BASIC_AUTH_PASSWORD": "secret", "LABELLOOP_POINTER_MAX_AGE": "0"}
    access = {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": key}
    base = {"LABELLOOP_BASE_WEIGHTS": str(base_weights())}
    with predict_function(tmp_path, **secrets, **access, **base) as url:
        credentials = {"auth_method": "BASIC_AUTH", "basic_auth_user": "labelloop", "basic_auth_pass": "secret"}
        backend = call("POST", "/api/ml/", json={"project": project, "url": url, "title": "labelloop", **credentials})
        assert backend["state"] == "CO"
        first = retrieve()
        assert [found["model_version"] for found in first] == ["label:base-ABD"] * 3
        assert retrieve() == first  # the version that setup answers is the one that predictions are stamped with

        uid = next(iter((tmp_path / "store" / "projects").iterdir())).name
        publish(open_store((tmp_path / "store").as_uri()), variants["Tree"], uid=uid)
        second = retrieve()
        assert [found["model_version"] for found in second].count("label:v1") == 3
        assert len(retrieve()) == len(second) == 6
        assert all(0 <= found["score"] <= 1 for found in second)
        versions = call("GET", f"/api/ml/{backend['id']}/versions")
        assert versions["versions"] == ["label:v1"]
    log = (tmp_path / "predict.log").read_text()
    assert key not in log
    assert "not_predicted" not in log
