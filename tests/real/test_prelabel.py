"""Predictions written into a real Label Studio ahead of the annotators."""

import base64
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ultralytics.utils import ASSETS

from infra.cli.connect import connect
from infra.cli.disconnect import disconnect
from infra.cli.findings import problems
from infra.demo.controls import airships
from infra.demo.project import DemoProject
from infra.demo.samples import CACHE, base_weights
from infra.local.emulation import emulation
from infra.local.label_studio import LabelStudioServer
from jobs.prelabel.shares import Share
from jobs.prelabel.target import LabelStudioTarget
from shared.errors import LabelStudioError
from shared.evolve import evolve
from shared.labelstudio.api import BY_SCORE, LabelStudio
from shared.objectstore import open_store
from shared.settings import Settings
from shared.state import claims, keys
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from shared.state.records import find
from shared.state.registry import Registry
from shared.state.rollback import move_pointer
from shared.state.runs import TrainRequest
from shared.state.versions import GRAPH
from shared.web.peer import call
from tests.samples.served_graphs import store_base_graph
from tests.samples.tiny_graphs import tiny_graph
from tests.samples.versions import manifest
from tests.servers.trigger_process import eventually
from tests.servers.web_server import Handler, web_server

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)
BOX = {
    "id": "r1", "from_name": "label", "to_name": "image", "type": "rectanglelabels",
    "original_width": 100, "original_height": 100, "score": 0.5,
    "value": {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["Tree"]},
}  # fmt: skip


class Project:
    """A project of its own in the real Label Studio."""

    def __init__(self, server: LabelStudioServer, images: Sequence[str]) -> None:
        self.api = LabelStudio(server.url, server.token, timeout=60)
        self.call = self.api.request_json
        self.id = self.call("POST", "/api/projects/", {"title": "prelabel", "label_config": CONFIG})["id"]
        self.tasks: list[int] = []
        self.add(images)
        self.target = LabelStudioTarget(self.api, self.id, page=3)

    def add(self, images: Sequence[str]) -> None:
        self.call("POST", f"/api/projects/{self.id}/import", [{"image": image} for image in images])
        listed = self.call("GET", "/api/tasks", params={"project": str(self.id), "page_size": "100"})
        self.tasks = sorted(task["id"] for task in listed["tasks"])

    def annotate(self, task: int, **more: Any) -> Any:
        return self.call("POST", f"/api/tasks/{task}/annotations/", {"result": [BOX]} | more)

    def predictions(self, task: int) -> list[tuple[int, str]]:
        found = self.call("GET", "/api/predictions/", params={"task": str(task)})
        return [(one["id"], one["model_version"]) for one in found]

    def results(self, task: int) -> list[Any]:
        """The regions of all predictions of a task."""
        found = self.call("GET", "/api/predictions/", params={"task": str(task)})
        return [region for one in found for region in one["result"]]

    def versions(self, task: int) -> list[str]:
        return sorted(version for _, version in self.predictions(task))

    def shown(self) -> str:
        return str(self.call("GET", f"/api/projects/{self.id}/")["model_version"])

    def lacking(self, version: str) -> list[int | None]:
        return [task.id for page in self.target.pages(version, 0) for task in page.tasks]


def predictions(tasks: Sequence[int], version: str) -> list[dict[str, Any]]:
    return [{"task": task, "result": [BOX], "score": 0.5, "model_version": version} for task in tasks]


def test_what_is_there_already_is_read_exactly_and_pages_end(server: LabelStudioServer) -> None:
    project = Project(server, [f"https://e.org/{number}.jpg" for number in range(8)])
    first, second, third, *rest = project.tasks
    project.annotate(first)
    assert project.target.store(predictions([second], "label:v12")) == 1
    assert project.target.store(predictions([third], "label:v1")) == 1
    assert project.lacking("label:v1") == [second, *rest], "label:v12 contains label:v1"
    assert project.lacking("label:v12") == [third, *rest]
    assert [page.last for page in project.target.pages("label:v1", 0)] == [rest[0], rest[3], rest[4]]
    assert [page.last for page in project.target.pages("label:v1", rest[3])] == [rest[4]]


def test_predictions_are_stored_once_whatever_becomes_of_the_answer(
    server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(server, [f"https://e.org/{number}.jpg" for number in range(5)])
    ask = project.api.request_json
    lost: list[str] = []

    def lose_one_answer(method: str, path: str, *more: Any, **named: Any) -> Any:
        answer = ask(method, path, *more, **named)
        if path.endswith("/predictions") and not lost:
            lost.append(path)
            raise LabelStudioError("no answer in time")
        return answer

    monkeypatch.setattr(project.api, "request_json", lose_one_answer)
    assert project.target.store(predictions(project.tasks, "label:v1")) == 5
    assert lost
    assert [project.versions(task) for task in project.tasks] == [["label:v1"]] * 5
    gone = project.tasks[2]
    ask("DELETE", f"/api/tasks/{gone}/")
    assert project.target.store(predictions(project.tasks, "label:v2")) == 4, "a task that is gone refuses no other"
    invalid = predictions(project.tasks[:1], "label:v3")
    invalid[0]["result"] = [BOX | {"value": BOX["value"] | {"rectanglelabels": ["Nobody"]}}]  # type: ignore[operator]
    assert project.target.store(invalid) == 0, "Label Studio answers 201, and stores nothing"


def test_what_label_studio_stored_twice_is_there_once(
    server: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its middleware does where SQLite was locked: the same request again, a second later, and one answer."""
    project = Project(server, [f"https://e.org/{number}.jpg" for number in range(5)])
    ask = project.api.request_json
    first, other, *two, last = project.tasks
    four = [first, *two, last]
    ask("POST", f"/api/projects/{project.id}/import/predictions", predictions([last], "label:v12"))
    assert project.target.store(predictions([other], "label:v1")) == 1, "of another worker's share"

    def repeat(method: str, path: str, *more: Any, **named: Any) -> Any:
        if path.endswith("/predictions"):
            ask(method, path, *more, **named)
            time.sleep(1.0)
        return ask(method, path, *more, **named)

    monkeypatch.setattr(project.api, "request_json", repeat)
    assert project.target.store(predictions(four, "label:v1")) == 4
    assert [project.versions(task) for task in project.tasks] == [["label:v1"]] * 4 + [["label:v1", "label:v12"]]
    monkeypatch.undo()
    ask("POST", f"/api/projects/{project.id}/import/predictions", predictions([last], "label:v1"))
    assert project.target.store(predictions([last], "label:v1")) == 1, "as after an answer that came too late"
    assert project.versions(last) == ["label:v1", "label:v12"]
    project.annotate(first)
    ask("POST", f"/api/projects/{project.id}/import/predictions", predictions([first], "label:v1"))
    assert project.target.store(predictions([first], "label:v1")) == 1
    assert project.versions(first) == ["label:v1"] * 2, "an annotation may refer to either"


def test_predictions_are_replaced_under_their_ids(server: LabelStudioServer) -> None:
    """So the annotation of a page that was opened before is taken; what is annotated already stays as it was shown."""
    project = Project(server, [f"https://e.org/{number}.jpg" for number in range(5)])
    annotated, *rest, lacking = project.tasks
    assert project.target.store(predictions(project.tasks[:-1], "label:v1")) == 4
    project.annotate(annotated)
    before = {task: project.predictions(task) for task in project.tasks}
    pages = list(project.target.pages("label:v1", 0, renewing=True))
    assert [task.id for page in pages for task in page.tasks] == [*rest, lacking]
    assert {task for page in pages for task in page.there} == set(rest)
    moved = BOX | {"value": BOX["value"] | {"x": 50}}  # type: ignore[operator]
    anew = [one | {"result": [moved], "score": 0.7} for one in predictions(project.tasks, "label:v1")]
    assert project.target.store(anew, renewing=True) == 5

    def stored(task: int) -> tuple[float, float]:
        (found,) = project.call("GET", "/api/predictions/", params={"task": str(task)})
        return found["result"][0]["value"]["x"], found["score"]

    assert [stored(task) for task in project.tasks] == [(10, 0.5)] + [(50, 0.7)] * 4
    assert {task: project.predictions(task) for task in project.tasks[:-1]} == {
        task: found for task, found in before.items() if task != lacking
    }
    parent = before[rest[0]][0][0]
    assert project.annotate(rest[0], parent_prediction=parent)["parent_prediction"] == parent
    emptied = [{"task": rest[1], "result": [], "model_version": "label:v1"}]
    assert project.target.store(emptied, renewing=True) == 1
    (found,) = project.call("GET", "/api/predictions/", params={"task": str(rest[1])})
    assert (found["result"], found["score"]) == ([], 0.7)


def test_a_version_is_shown_once_it_is_there_and_older_ones_go(server: LabelStudioServer) -> None:
    project = Project(server, [f"https://e.org/{number}.jpg" for number in range(4)])
    target = project.target
    assert not target.show("label:v1"), "there is nothing of it"
    for version in ("label:v1", "somebody-else", "label:v2", "label:v3"):
        target.store(predictions(project.tasks, version))
    assert target.show("label:v3")
    assert project.shown() == "label:v3"
    annotated, *rest = project.tasks
    parent = next(number for number, version in project.predictions(annotated) if version == "label:v1")
    project.annotate(annotated, parent_prediction=parent)
    assert target.prune({"label:v3", "label:v2"}, ["label"]) == 3
    assert target.prune({"label:v3", "label:v2"}, ["label"]) == 0
    assert [project.versions(task) for task in rest] == [["label:v2", "label:v3", "somebody-else"]] * 3
    assert project.versions(annotated) == ["label:v1", "label:v2", "label:v3", "somebody-else"]
    with pytest.raises(LabelStudioError, match="parent_prediction"):
        project.annotate(rest[0], parent_prediction=999_999)


def test_the_queue_follows_the_version_that_is_shown(server: LabelStudioServer) -> None:
    """Also back: the scores of the version that was rolled back decide nothing any more."""
    project = Project(server, [f"https://e.org/{number}.jpg" for number in range(3)])
    project.call("PATCH", f"/api/projects/{project.id}/", {"sampling": "Uncertainty sampling"})
    for version, scores in (("label:v1", (0.3, 0.1, 0.2)), ("label:v2", (0.1, 0.2, 0.3))):
        written = zip(predictions(project.tasks, version), scores, strict=True)
        project.target.store([one | {"score": score} for one, score in written])
    assert project.target.show("label:v2")
    assert project.target.show("label:v1")
    # Asked once: a task that was given out is locked, and given to the same person again.
    assert project.call("GET", f"/api/projects/{project.id}/next")["id"] == project.tasks[1]


def test_label_studio_hands_out_tasks_by_the_scores_of_the_version_that_is_shown(server: LabelStudioServer) -> None:
    project = Project(server, [f"https://e.org/{number}.jpg" for number in range(6)])
    *scored, imported, last = project.tasks
    by_version = {"label:v1": [0.1, 0.2, 0.3, 0.4], "label:v2": [0.6, 0.2, 0.9, 0.4]}
    for version, scores in by_version.items():
        assert project.target.store(
            [one | {"score": score} for one, score in zip(predictions(scored, version), scores, strict=True)]
        ) == len(scores)
    assert project.target.show("label:v2")
    assert project.target.sampling() == "Sequential sampling"
    project.target.hand_out(BY_SCORE)
    assert project.target.sampling() == BY_SCORE
    assert project.target.store([predictions([imported], "label:v2")[0] | {"score": 0.3}]) == 1  # imported since

    def next_task() -> int:
        found = int(project.call("GET", f"/api/projects/{project.id}/next/")["id"])
        project.annotate(found)
        return found

    first, second, third, fourth = scored
    assert [next_task() for _ in range(6)] == [second, imported, fourth, first, third, last]


def picture(size: int) -> str:
    data = io.BytesIO()
    Image.open(ASSETS / "bus.jpg").resize((size, size)).save(data, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def serve_the_second_of_two_versions(registry: Registry, graph: Path) -> None:
    entry = registry.upload_file("label", GRAPH, graph)
    for run_id in ("run-1", "run-2"):
        build = partial(manifest, run_id=run_id)
        registry.publish("label", lambda number, build=build: evolve(build(number), files=(entry,)))  # type: ignore[misc]
    registry.promote("label", 2, fence=10**6, run_id="run-2", expected=None)


def test_a_connected_project_gets_its_predictions_ahead(server: LabelStudioServer, tmp_path: Path) -> None:
    project = Project(server, [picture(200 + number) for number in range(5)] + ["https://127.0.0.1/refused.jpg"])
    *pictures, refused = project.tasks
    project.annotate(pictures[0])
    weights = base_weights()
    store_base_graph((tmp_path / "store").as_uri(), tmp_path / "base", weights)
    given = Settings.from_environ(
        {
            "HOST": "127.0.0.1",
            "LABEL_STUDIO_URL": server.url,
            "LABEL_STUDIO_API_KEY": server.token,
            "LABELLOOP_STORE": (tmp_path / "store").as_uri(),
            "LABELLOOP_WORK_DIR": str(tmp_path / "work"),
            "LABELLOOP_CACHE_DIR": str(tmp_path / "cache"),
            "LABELLOOP_BASE_WEIGHTS": str(weights),
            "LABELLOOP_IMAGE_SIZE": "320",
            "LABELLOOP_DEBOUNCE": "0.2",
            "LABELLOOP_SWEEP_INTERVAL": "1",
            "LABELLOOP_PREDICT_DEADLINE": "0.2",
        }
    )
    store, version = open_store(given.store), f"label:base-{weights.stem}"
    with emulation(given, tmp_path / "logs", environ=os.environ, say=lambda _: None) as running:
        project.call("PATCH", f"/api/projects/{project.id}/", {"show_collab_predictions": False})
        connected = connect(project.api, running.settings, project.id, store=store)
        assert not problems(connected)
        assert "model_version" in next(found.message for found in connected if found.check == "push")
        jobs = Jobs(store, str(project.target.state().counters.uid))

        def ended(through: int) -> bool:
            done = jobs.read()
            return done.prelabelled is not None and done.prelabelled.through == through and done.prelabel is None

        eventually(lambda: ended(refused), "the job writes what the project lacks")
        assert [project.versions(task) for task in project.tasks] == [[], *[[version]] * 4, []]
        done, first = jobs.read().prelabelled, jobs.read().last_prelabel
        assert done is not None
        assert (done.model_version, done.left, project.shown()) == (version, 1, version)

        project.add([picture(300)])
        eventually(lambda: ended(project.tasks[-1]), "the job predicts what was imported")
        assert [len(project.versions(task)) for task in project.tasks] == [0, 1, 1, 1, 1, 0, 1]
        second = jobs.read().last_prelabel
        assert first != second
        project.call("PATCH", f"/api/projects/{project.id}/", {"title": "another title"})
        for _ in range(2):
            swept = call("POST", f"{running.train_trigger_url}/sweep", running.settings, "secret", timeout=60)
            assert swept.json()["outcomes"] == {"nothing": 1}
        assert jobs.read().last_prelabel == second, "nothing wakes it any more"

        ids = [project.predictions(task) for task in project.tasks]
        assert any(project.results(task) for task in project.tasks)
        nothing_is_sure = CONFIG.replace('name="label"', 'name="label" model_score_threshold="1"')
        project.call("PATCH", f"/api/projects/{project.id}/", {"label_config": nothing_is_sure})
        eventually(lambda: not any(project.results(task) for task in project.tasks), "what is there is made anew")
        eventually(lambda: ended(project.tasks[-1]), "the job ends")
        assert [project.predictions(task) for task in project.tasks] == ids
        project.call("PATCH", f"/api/projects/{project.id}/", {"label_config": CONFIG})
        eventually(lambda: any(project.results(task) for task in project.tasks), "and back")

        serve_the_second_of_two_versions(Registry(store, jobs.uid), tiny_graph(tmp_path / "tiny.onnx"))
        move_pointer(store, jobs.uid, "label", 1)
        eventually(lambda: project.shown() == "label:v1", "a rollback is followed by the older version's predictions")
        eventually(lambda: ended(project.tasks[-1]), "the job ends")
        assert all("label:v1" in project.versions(task) for task in project.tasks[1:5])

        demo = airships("video", count=1, size=(320, 240), frames=100)
        film = DemoProject(server, demo)
        ((task, sample),) = film.import_samples(demo.samples(CACHE)).items()
        assert not problems(connect(project.api, running.settings, film.id, store=store))
        eventually(lambda: film.shown() == version, "a job predicts a video")
        found = film.prediction(task, sample, version)
        assert found is not None
        data = project.call("GET", f"/api/tasks/{task}/")["data"]
        asked = {"tasks": [{"id": task, "data": data}], "project": film.uid, "label_config": demo.label_config}
        answer = call("POST", f"{running.predict_url}/predict", running.settings, "basic", timeout=60, body=asked)
        assert answer.json()["results"] == [[]], "it takes longer than a request may"

        changed = disconnect(project.api, project.id, store=store, tell=lambda _: None, predictions=True)
        checks = ["push", "webhook", "backend", "predictions", "predictions", "connection", "predictions"]
        assert [found.check for found in changed] == checks
        assert disconnect(project.api, project.id, store=store, tell=lambda _: None, predictions=True) == []
        assert jobs.read().prelabelled is None, "status tells no more that they were written"
    assert project.shown() == ""
    assert project.call("GET", f"/api/projects/{project.id}/")["show_collab_predictions"] is False, "as before"
    left = {task: project.versions(task) for task in project.tasks if project.versions(task)}
    assert set(left) <= {task for task in project.tasks if project.call("GET", f"/api/tasks/{task}/")["annotations"]}


def test_of_three_workers_one_is_killed_and_each_task_gets_one_prediction(
    server: LabelStudioServer, tmp_path: Path
) -> None:
    """No worker gets its images before one of them was killed with a share that nobody else then has."""
    go_on = threading.Event()

    def answer(handler: Handler) -> None:
        go_on.wait(60)
        handler.reply(200, base64.b64decode(picture(200).partition(",")[2]), Content_Type="image/jpeg")

    store = open_store((tmp_path / "store").as_uri())
    workers: list[subprocess.Popen[bytes]] = []
    with web_server(answer) as web:
        project = Project(server, [f"{web.url}/{number}.jpg" for number in range(6)])
        uid = str(project.target.state().counters.uid)
        write_project(store, uid, label_config=CONFIG, push=True)
        serve_the_second_of_two_versions(Registry(store, uid), tiny_graph(tmp_path / "tiny.onnx"))
        jobs = Jobs(store, uid, prelabelling=True)
        jobs.update(claims.take, "run", lifetime=600, kind="prelabel", workers=3, forced=True)
        request = TrainRequest(store=store.url, project_uid=uid, run_id="run", kind="prelabel", workers=3)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LABEL")} | {
            "TRAIN_REQUEST": request.model_dump_json(),
            "LABEL_STUDIO_URL": server.url,
            "LABEL_STUDIO_API_KEY": server.token,
            "LABELLOOP_CACHE_DIR": str(tmp_path / "cache"),
            "LABELLOOP_CLAIM_LIFETIME": "4",
            "LABELLOOP_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        }

        def shares() -> list[str]:
            found = (find(Share, store, keys.share(uid, number))[0] for number in range(3))
            return [share.nonce for share in found if share]

        def begin(expected: int) -> None:
            with (tmp_path / f"worker-{expected}.log").open("wb") as log:
                command = (sys.executable, "-m", "jobs.train")
                workers.append(subprocess.Popen(command, env=environ, stdout=log, stderr=log))
            eventually(lambda: len(shares()) == expected, "it takes a share")

        try:
            for expected in (1, 2):
                begin(expected)
            workers[1].kill()
            workers[1].wait(60)
            begin(3)
            leader, killed, third = shares()
            go_on.set()
            assert [workers[0].wait(60), workers[2].wait(60)] == [0, 0]
        finally:
            go_on.set()
            for worker in workers:
                worker.kill()
                worker.wait(60)
    assert [project.versions(task) for task in project.tasks] == [["label:v2"]] * 6
    assert project.shown() == "label:v2"
    done = jobs.read().prelabelled
    assert done is not None
    assert (done.predicted, done.through, jobs.read().training) == (6, project.tasks[-1], None)
    assert len({leader, killed, third}) == 3
    assert killed not in shares()
