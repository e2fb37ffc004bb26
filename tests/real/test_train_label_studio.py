"""The export against a real Label Studio: both kinds of tokens, filters, order, what counts as a change."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.label_studio import LabelStudioServer
from jobs.train.data.annotations import AnnotationDigest, ExportedTask, choose_annotation
from jobs.train.data.earlier import Earlier
from jobs.train.data.export import LabelStudioExporter
from jobs.train.data.snapshot import Snapshot
from jobs.train.data.snapshot_writer import write_snapshot
from shared.errors import ProjectGone, Unauthorized
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.config import parse_label_config
from tests.fakes.train_parts import CONFIG, rectangle
from tests.servers.web_server import Handler, web_server


class Project:
    """A project with five tasks: annotated, annotated twice, skipped, untouched, empty."""

    def __init__(self, server: LabelStudioServer) -> None:
        self.server = server
        self.call = LabelStudio(server.url, server.token, timeout=60).request_json
        self.id = self.call("POST", "/api/projects/", {"title": "export", "label_config": CONFIG})["id"]
        tasks = [{"image": f"s3://bucket/{number}.jpg"} for number in range(5)]
        self.call("POST", f"/api/projects/{self.id}/import?return_task_ids=1", tasks)
        listed = self.call("GET", f"/api/tasks?project={self.id}&page_size=100")
        self.tasks = sorted(task["id"] for task in listed["tasks"])
        box = {"original_width": 100, "original_height": 100} | rectangle()
        self.first = self.annotate(self.tasks[0], [box])
        self.annotate(self.tasks[1], [box])
        self.newest = self.annotate(self.tasks[1], [])
        self.annotate(self.tasks[2], [], was_cancelled=True)
        self.annotate(self.tasks[4], [])

    def annotate(self, task: int, result: list[dict[str, Any]], **more: Any) -> int:
        return int(self.call("POST", f"/api/tasks/{task}/annotations/", {"result": result} | more)["id"])


@contextmanager
def recorded(url: str) -> Iterator[tuple[str, list[str]]]:
    """The address of something before Label Studio, and the bodies that pass through it."""
    passed: list[str] = []

    def hand_on(handler: Handler) -> None:
        authorization = {"Authorization": handler.headers["Authorization"]}
        answer = requests.get(url + handler.path, headers=authorization, timeout=60)
        passed.append(answer.text)
        handler.reply(answer.status_code, answer.content, Content_Type="application/json")

    with web_server(hand_on) as web:
        yield web.url, passed


@pytest.fixture(scope="module")
def project(server: LabelStudioServer) -> Project:
    return Project(server)


def exported(project: Project, token: str, url: str | None = None) -> list[ExportedTask]:
    with closing(LabelStudioExporter(url or project.server.url, token, page_size=2)) as exporter:
        return list(exporter.tasks(project.id))


def digest(tasks: list[ExportedTask]) -> str:
    made = AnnotationDigest()
    for task in tasks:
        made.add(task.annotations)
    return made.hexdigest()


def test_export_and_what_counts_as_a_change(project: Project) -> None:
    tasks = exported(project, project.server.token)
    first, second, _, _, empty = project.tasks
    assert [task.id for task in tasks] == [first, second, empty], "skipped and untouched tasks are not exported"
    assert tasks[0].data["image"] == "s3://bucket/0.jpg", "as it was imported, not resolved"
    assert tasks[0].annotations[0]["result"][0]["value"]["rectanglelabels"] == ["Tree"]
    assert (choose_annotation(tasks[1].annotations) or {})["id"] == project.newest
    before = digest(tasks)
    assert digest(exported(project, project.server.token)) == before
    box = {"original_width": 100, "original_height": 100} | rectangle(x=1)
    project.call("PATCH", f"/api/annotations/{project.first}/", {"result": [box]})
    assert digest(exported(project, project.server.token)) != before


def test_neither_drafts_nor_predictions_are_fetched(project: Project) -> None:
    """Nor what was skipped beside an annotation: who skips a task that another has done changes nothing."""
    before = exported(project, project.server.token)
    first = project.tasks[0]
    box = {"original_width": 100, "original_height": 100, "id": "drawnlater"} | rectangle(x=2)
    for version in ("label:v1", "label:v2"):
        predicted = {"task": first, "result": [box], "model_version": version, "score": 0.5}
        project.call("POST", "/api/predictions/", predicted)
    project.call("POST", f"/api/tasks/{first}/drafts", {"result": [box], "lead_time": 1})
    project.annotate(first, [box], was_cancelled=True)
    with recorded(project.server.url) as (url, passed):
        after = exported(project, project.server.token, url)
    assert digest(after) == digest(before)
    assert [(task.id, task.data, len(task.annotations)) for task in after] == [
        (task.id, task.data, len(task.annotations)) for task in before
    ]
    assert len(passed) == 3 + len(before)
    assert not [body for body in passed if "label:v" in body or "drawnlater" in body]
    everything = str(project.call("GET", f"/api/tasks?project={project.id}&fields=all"))
    assert "label:v2" in everything
    with closing(LabelStudioExporter(project.server.url, project.server.token)) as exporter:
        assert sorted(exporter.shown_versions(project.id)) == ["label:v1", "label:v2"]
    assert everything.count("drawnlater") >= 4, "two predictions, a draft and a skipped annotation are there"


def snapshot_of(project: Project, path: Path, earlier: Earlier) -> tuple[Snapshot, set[int]]:
    """A snapshot, and the tasks whose annotations were asked for."""
    asked: set[int] = set()

    def noted(tasks: Iterator[ExportedTask]) -> Iterator[ExportedTask]:
        for task in tasks:
            asked.update(() if task.same else (task.id,))
            yield task

    with closing(LabelStudioExporter(project.server.url, project.server.token, page_size=2)) as exporter:
        made = write_snapshot(
            noted(exporter.tasks(project.id, earlier.is_same)),
            replace(exporter.project(project.id), read_at=datetime(2026, 1, 1, tzinfo=UTC)),
            parse_label_config(CONFIG),
            path,
            val_fraction=0.2,
            check=lambda: None,
            earlier=earlier.take,
        )
    return made, asked


def act(project: Project, action: str, *tasks: int) -> None:
    """An action of the data manager."""
    body: dict[str, Any] = {"selectedItems": {"all": False, "included": list(tasks)}, "ordering": [], "filters": None}
    project.call("POST", f"/api/dm/actions?id={action}&project={project.id}", body)


def test_whatever_changes_is_asked_for_and_nothing_else(server: LabelStudioServer, tmp_path: Path) -> None:
    """Each way to change annotations moves what the list of tasks says, so both ways read the same, byte by byte."""
    project = Project(server)
    first, second, skipped, untouched, empty = project.tasks
    box = {"original_width": 100, "original_height": 100} | rectangle()
    predicted = {"task": untouched, "result": [box], "model_version": "label:v1", "score": 0.5}
    project.call("POST", "/api/predictions/", predicted)
    annotation, made = f"/api/annotations/{project.first}/", list[int]()

    def patch(path: str, **fields: Any) -> None:
        project.call("PATCH", path, fields)

    def of(task: int) -> str:
        return f"/api/tasks/{task}/"

    same = {"image": "s3://bucket/same.jpg"}
    changes: dict[str, tuple[Callable[[], object], set[int]]] = {
        "nothing": (lambda: None, set()),
        "an annotation is changed": (lambda: patch(annotation, result=[box, box]), {first}),
        "a second one is made": (lambda: made.append(project.annotate(first, [box])), {first}),
        "it is skipped": (lambda: patch(f"/api/annotations/{made[0]}/", was_cancelled=True), {first}),
        "it is deleted": (lambda: project.call("DELETE", f"/api/annotations/{made[0]}/"), {first}),
        "a prediction is accepted": (lambda: act(project, "predictions_to_annotations", untouched), {untouched}),
        "annotations are deleted": (lambda: act(project, "delete_tasks_annotations", empty), set()),
        "and one is made": (lambda: project.annotate(empty, [box]), {empty}),
        "the data is changed": (lambda: patch(of(first), data=same), {first}),
        "a task is made its duplicate": (lambda: patch(of(untouched), data=same), {untouched}),
        "duplicates are removed": (lambda: act(project, "remove_duplicates", first, untouched), {first}),
        "a task is deleted": (lambda: act(project, "delete_tasks", second), set()),
        "a skipped one is annotated": (lambda: project.annotate(skipped, [box]), {skipped}),
        "the project is renamed": (lambda: patch(f"/api/projects/{project.id}/", title="another"), set()),
    }
    last, asked = snapshot_of(project, tmp_path / "last.json", Earlier())
    assert asked == {first, second, empty}
    for what, (change, expected) in changes.items():
        change()
        whole, _ = snapshot_of(project, tmp_path / "whole.json", Earlier())
        partial, asked = snapshot_of(project, tmp_path / "partial.json", Earlier(last.tasks()))
        assert (asked, partial.path.read_bytes()) == (expected, whole.path.read_bytes()), what
        last = Snapshot(partial.path.rename(tmp_path / "last.json"), partial.header)


def test_personal_access_token(project: Project) -> None:
    assert len(exported(project, project.server.personal_access_token())) == 3


def test_errors_of_a_real_label_studio(project: Project) -> None:
    with pytest.raises(Unauthorized):
        exported(project, "f" * 40)
    project.id, kept = project.id + 1000, project.id
    with pytest.raises(ProjectGone):
        exported(project, project.server.token)
    project.id = kept
