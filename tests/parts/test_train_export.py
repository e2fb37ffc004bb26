"""The export: pages by id, annotations task by task, transient errors, memory that does not grow."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from jobs.train.data import snapshot as snapshots
from jobs.train.data.annotations import ExportedTask
from jobs.train.data.export import LabelStudioExporter
from jobs.train.data.snapshot_writer import write_snapshot
from shared.errors import ImageError, LabelStudioError, ProjectGone, Unauthorized
from shared.labelstudio.api import ProjectState
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from tests.fakes.train_parts import CONFIG, CREATED, DEEP, PagedProject, annotation, jpeg, rectangle, served
from tests.servers.web_server import LABEL_STUDIO_404, Handler, WebServer, web_server

KEY = "0" * 40


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tenacity's back-off."""
    for patient in (LabelStudioExporter._page, LabelStudioExporter._annotations, LabelStudioExporter.project):
        monkeypatch.setattr(patient.retry, "sleep", lambda _: None)


def exported(url: str, **more: Any) -> list[ExportedTask]:
    """All tasks, by a client that is closed afterwards."""
    with closing(LabelStudioExporter(url, KEY, **more)) as exporter:
        return list(exporter.tasks(1))


def pages_of(web: WebServer) -> list[dict[str, list[str]]]:
    """The queries that asked for a page of tasks."""
    return [parse_qs(urlsplit(seen.path).query) for seen in web.seen if "page_size" in seen.path]


def sizes_of(web: WebServer) -> list[int]:
    return [int(query["page_size"][0]) for query in pages_of(web)]


def test_pages_follow_the_ids() -> None:
    with served(PagedProject(25)) as web:
        tasks = exported(web.url, page_size=10)
    assert [task.id for task in tasks] == list(range(1, 26))
    assert tasks[0].annotations[0]["updated_at"] == "2026-02-01T00:00:01.000000Z", "as it was sent: the digest needs it"
    asked = pages_of(web)
    filters = [json.loads(query["query"][0])["filters"]["items"] for query in asked]
    assert [items[0]["value"] for items in filters] == [0, 10, 20, 25]
    assert {query["resolve_uri"][0] for query in asked} == {"false"}
    assert {query["fields"][0] for query in asked} == {"task_only"}, "no drafts, no predictions"
    assert web.tokens == [f"Token {KEY}"] * (4 + 25)
    assert sorted(seen.path for seen in web.seen if "annotations/" in seen.path) == sorted(
        f"/api/tasks/{number}/annotations/" for number in range(1, 26)
    )


def test_a_path_prefix_is_kept() -> None:
    with served(PagedProject(3)) as web:
        with pytest.raises(LabelStudioError, match="path prefix"):
            exported(f"{web.url}/label-studio")
        assert web.seen[0].path.startswith("/label-studio/api/tasks/")


def test_transient_errors_are_tried_again() -> None:
    with served(PagedProject(3, failures=[502, 500, 503, 429])) as web:
        assert len(exported(web.url)) == 3
    with served(PagedProject(3, failures=[502, 404, 429])) as web, closing(LabelStudioExporter(web.url, KEY)) as one:
        assert one.project(1).counters.task_number == 3, "the project is asked for as patiently"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthorized),
        (403, Unauthorized),
        (404, LabelStudioError),
        (400, LabelStudioError),
        (502, LabelStudioError),
    ],
)
def test_errors_say_what_to_do_and_never_hold_the_token(status: int, error: type[Exception]) -> None:
    with served(PagedProject(3, failures=[status] * 500)) as web:
        with pytest.raises(error) as raised:
            exported(web.url)
        assert KEY not in str(raised.value)
        with closing(LabelStudioExporter(web.url, KEY)) as exporter, pytest.raises(error) as raised:
            exporter.project(1)
    assert type(raised.value) is error
    assert KEY not in str(raised.value)


def test_a_project_that_is_gone_is_said_by_label_studio_itself() -> None:
    def gone(handler: Handler) -> None:
        handler.reply(404, LABEL_STUDIO_404, Content_Type="application/json")

    with web_server(gone) as web, pytest.raises(ProjectGone):
        exported(web.url)
    assert len(web.seen) == 1


def test_a_page_that_takes_too_long_is_asked_for_at_half_its_size_and_so_are_those_behind_it() -> None:
    with served(PagedProject(40, most=6)) as web:
        tasks = exported(web.url, page_size=20, timeout=1)
        assert [task.id for task in tasks] == list(range(1, 41))
        assert sizes_of(web)[:3] == [20, 10, 5]
        assert set(sizes_of(web)[3:]) == {5}, "no page waits in vain for the time-out again"


def test_a_page_that_failed_at_once_does_not_make_all_pages_small() -> None:
    with served(PagedProject(60, failures=[502])) as web:
        assert len(exported(web.url, page_size=20)) == 60
    assert sizes_of(web)[:3] == [20, 10, 20]


def test_what_a_task_lost_meanwhile_is_no_error() -> None:
    """Tasks are deleted while they are exported."""
    with served(PagedProject(3, annotations_of={2: 404})) as web:
        assert [(task.id, len(task.annotations)) for task in exported(web.url)] == [(1, 1), (2, 0), (3, 1)]


@pytest.mark.parametrize("status", [500, 400])
def test_a_task_whose_annotations_do_not_come_is_left_out_by_name(status: int) -> None:
    with served(PagedProject(9, annotations_of={2: status, 3: status, 9: status})) as web:
        tasks = exported(web.url)
    assert [task.id for task in tasks if task.unreadable] == [2, 3, 9]
    assert f"answers {status}" in tasks[1].unreadable
    assert all(len(task.annotations) == 1 for task in tasks if not task.unreadable)


def test_annotations_that_do_not_come_are_an_outage_where_the_project_does_not_either() -> None:
    """The last tasks of a project must not be left out because Label Studio stopped behind them."""
    project = PagedProject(2)

    def respond(handler: Handler) -> None:
        if "annotations/" in handler.path:
            project.failures = [502] * 500
        project.respond(handler)

    with web_server(respond) as web, pytest.raises(LabelStudioError, match="502"):
        exported(web.url)


def test_annotations_that_never_come_are_an_outage() -> None:
    nobody = dict.fromkeys(range(1, 41), 500)
    with served(PagedProject(40, annotations_of=nobody)) as web, pytest.raises(LabelStudioError, match="500"):
        exported(web.url)


def test_label_studio_is_not_there() -> None:
    with served(PagedProject(1)) as web:
        url = web.url
    with pytest.raises(LabelStudioError, match="not reachable"):
        exported(url)


def snapshot_of(project: PagedProject, path: Path, config: str = CONFIG) -> snapshots.Snapshot:
    with served(project) as web:
        return write_snapshot(
            exported(web.url),
            ProjectState(
                ProjectCounters(id=1, created_at=CREATED, label_config=config, total_annotations_number=7), CREATED
            ),
            parse_label_config(config),
            path,
            val_fraction=0.2,
            check=lambda: None,
        )


def test_tasks_of_a_snapshot_hold_what_the_controls_need(tmp_path: Path, file_store: ObjectStore) -> None:
    skipped: dict[str, Any] = {"id": 2, "data": {}, "annotations": [annotation(20, was_cancelled=True)]}
    other = rectangle("Car", control="other")
    chosen = annotation(11, [rectangle(), other], updated_at="2026-05-01T00:00:00Z")
    both = {"id": 1, "data": {"image": "a", "secret": "b"}, "annotations": [chosen, annotation(12)]}
    made = snapshot_of(PagedProject(3, tasks={1: both, 2: skipped}), tmp_path / "dataset.json")
    assert (made.header.tasks, made.header.left_out) == (2, 1)
    assert made.header.baseline.totals.total_annotations_number == 7
    first, third = made.tasks()
    assert (first.id, first.annotation, first.data, third.id) == (1, 11, {"$image": "a"}, 3)
    assert [region["from_name"] for region in first.regions] == ["label"]

    snapshots.upload(made, file_store, "dataset.json")
    again = snapshot_of(PagedProject(9), tmp_path / "later.json")
    assert again.header.tasks == 9
    assert snapshots.upload(again, file_store, "dataset.json").header == made.header, "the first one counts"


def test_the_data_of_a_snapshot_is_what_the_values_of_the_tags_mean(tmp_path: Path) -> None:
    config = """<View><Video name="v" value="$clips[1].file" frameRate="$meta.fps"/>
        <TimelineLabels name="when" toName="v"><Label value="a"/></TimelineLabels>
        <Image name="i" value="https://host/$file"/>
        <RectangleLabels name="label" toName="i"><Label value="Tree"/></RectangleLabels></View>"""
    data: dict[str, Any] = {"clips": ["x", {"file": "b.webm"}], "meta": {"fps": 30}, "file": "c.jpg", "secret": "d"}
    bare: dict[str, Any] = {"clips": ["x"], "meta": [], "file": None}
    for _ in range(300):  # Label Studio takes it
        data["secret"], bare["meta"] = [data["secret"]], {"fps": [bare["meta"]]}
    tasks = {
        number: {"id": number, "data": each, "annotations": [annotation(number)]}
        for number, each in ((1, data), (2, bare))
    }
    made = snapshot_of(PagedProject(2, tasks=tasks), tmp_path / "dataset.json", config)
    first, second = made.tasks()
    when, label = parse_label_config(config)
    assert first.data == {"$clips[1].file": "b.webm", "$meta.fps": 30, "https://host/$file": "https://host/c.jpg"}
    assert (first.file_of(when), first.frame_rate(when), first.file_of(label)) == ("b.webm", 30, "https://host/c.jpg")
    assert (second.data, second.frame_rate(when)) == ({}, 24)
    for control in (when, label):
        with pytest.raises(ImageError, match=r'the data of task 2 has nothing for value="'):
            second.file_of(control)


def test_what_an_import_wrote_into_results_that_is_no_region_is_left_out(tmp_path: Path) -> None:
    strange: list[Any] = ["text", 3, None, ["list"], {}, {"from_name": ["label"]}, {"from_name": "label"}]
    task = {"id": 1, "data": {"image": "a"}, "annotations": [annotation(11, [*strange, rectangle()])]}
    (snapshot_task,) = snapshot_of(PagedProject(1, tasks={1: task}), tmp_path / "dataset.json").tasks()
    assert [region.get("value") for region in snapshot_task.regions] == [None, rectangle()["value"]]


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ("", ["label", "label"]),
        (
            '<Choices name="kind" toName="img" perRegion="true"><Choice value="Oak"/></Choices>',
            ["label", "text", "label"],
        ),
        (
            '<KeyPointLabels name="points" toName="img"><Label value="top"/></KeyPointLabels>',
            ["label", "text", "label"],
        ),
    ],
    ids=["shapes", "choices of regions", "points below regions"],
)
def test_what_other_tags_hold_is_kept_where_regions_of_any_tag_count(
    tmp_path: Path, more: str, kept: list[str]
) -> None:
    config = CONFIG.replace("</View>", f"{more}</View>")
    result = [rectangle(), rectangle("Car", control="text"), rectangle()]
    task = {"id": 1, "data": {"image": "a"}, "annotations": [annotation(11, result)]}
    made = snapshot_of(PagedProject(1, tasks={1: task}), tmp_path / "dataset.json", config=config)
    (snapshot_task,) = made.tasks()
    assert [region["from_name"] for region in snapshot_task.regions] == kept


def test_of_another_tag_with_a_label_of_a_control_it_is_kept_that_it_was_there(tmp_path: Path) -> None:
    """A picture with such is no background of the control; its shape, which may be large, nobody reads."""
    bitmask = {"imageDataURL": "data:image/png;base64," + "A" * 10_000}
    same = {"to_name": "img", "id": "r"}
    result: list[dict[str, Any]] = [
        {"from_name": "masks", "value": bitmask | {"bitmasklabels": ["Tree", "secret"]}} | same,
        {"from_name": "masks", "value": bitmask | {"bitmasklabels": ["Tree"]}} | same | {"to_name": "other"},
        {"from_name": "masks", "value": bitmask | {"bitmasklabels": ["Car"]}} | same,
        {"from_name": "note", "value": {"text": ["secret"]}} | same,
        {"from_name": "label", "value": bitmask | {"rectanglelabels": ["Tree"]}} | same,
    ]
    task = {"id": 1, "data": {"image": "a"}, "annotations": [annotation(11, result)]}
    (snapshot_task,) = snapshot_of(PagedProject(1, tasks={1: task}), tmp_path / "dataset.json").tasks()
    assert snapshot_task.regions == [
        {"from_name": "masks", "value": {"labels": ["Tree"]}} | same,
        {"from_name": "label", "value": {"imageDataURL": "", "rectanglelabels": ["Tree"]}} | same,
    ]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def annotated(**fields: Any) -> dict[str, Any]:
    """Task 2."""
    return {"id": 2, "data": {"image": "a"}, "annotations": [annotation(2, [rectangle()])]} | fields


def region_with(**fields: Any) -> dict[str, Any]:
    return annotated(annotations=[annotation(2, [rectangle() | fields])])


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(annotated(data={"image": nested(300)}), id="the image's value is nested 300 levels deep"),
        pytest.param(annotated(data={"image": nested(200)}), id="200 levels: can be written, not read"),
        pytest.param(annotated(data={"image": DEEP}), id="an image's value that no reader takes"),
        pytest.param(annotated(meta=DEEP), id="something else that no reader takes"),
        pytest.param(region_with(value=nested(300)), id="a region's value"),
        pytest.param(region_with(value={"x": nested(300)}), id="in a region's value"),
        pytest.param(annotated(data=["a"]), id="its data is a list"),
        pytest.param(annotated(data=None), id="it has no data"),
        pytest.param(annotated(id="two"), id="its id is no number"),
        pytest.param(annotated(data={"image": "a\ud800"}), id="text that is no Unicode"),
        pytest.param(region_with(value={"rectanglelabels": ["\ud800"]}), id="a label that is no Unicode"),
        pytest.param(annotated(annotations=[{"result": [rectangle()]}]), id="an annotation without an id"),
        pytest.param(annotated(annotations=[annotation(2) | {"id": "x"}]), id="an annotation whose id is no number"),
        pytest.param(annotated(annotations=["text", 3]), id="annotations that are none"),
    ],
)
def test_one_bad_task_is_left_out_by_name_and_no_other(tmp_path: Path, task: dict[str, Any]) -> None:
    """Everything that Label Studio, or an import of it, lets pass."""
    made = snapshot_of(PagedProject(5, tasks={2: task}), tmp_path / "dataset.json")
    assert made.header.tasks == 5
    assert [one.id for one in made.tasks()] == [1, 2, 3, 4, 5]
    assert [bool(one.unusable or not one.data) for one in made.tasks()] == [False, True, False, False, False]


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(annotated(meta=nested(300)), id="nested where nobody looks"),
        pytest.param(region_with(meta={"text": nested(300)}), id="meta of a region"),
        pytest.param(annotated(data={"image": "a", "other": nested(300)}), id="a key that no control reads"),
        pytest.param(annotated(annotations=[annotation(2, [rectangle()], updated_at="soon")]), id="no date"),
        pytest.param(annotated(annotations=[annotation(2, [rectangle()], updated_at=12)]), id="a number for a date"),
        pytest.param(annotated(annotations=[annotation(2, [rectangle()], updated_at=nested(300))]), id="a deep date"),
        pytest.param(annotated(annotations=[{"result": []}, annotation(2, [rectangle()])]), id="one without an id"),
        pytest.param(annotated(annotations=[annotation(2) | {"result": "text"}]), id="a result that is a text"),
        pytest.param(annotated(data={"image": "a\0"}), id="a zero byte"),
        pytest.param(annotated(data={"image": 10**400}), id="a number of 400 digits"),
    ],
)
def test_what_is_odd_beside_the_point_leaves_the_task_in(tmp_path: Path, task: dict[str, Any]) -> None:
    made = snapshot_of(PagedProject(3, tasks={2: task}), tmp_path / "dataset.json")
    assert [one.unusable for one in made.tasks()] == [None, None, None]
    assert len(made.header.baseline.digest or "") == 64


@pytest.mark.parametrize("count", [5, 40], ids=["the last ones", "among others"])
def test_tasks_that_cannot_be_read_are_gone_around_one_by_one(count: int) -> None:
    """Whether Label Studio fails on them or we do: their whole page is lost otherwise, for ever."""
    deep = {number: annotated(id=number, meta=DEEP) for number in (4, 5, 17)}
    with served(PagedProject(count, tasks=deep)) as web:
        tasks = exported(web.url, page_size=10)
    assert [task.id for task in tasks] == list(range(1, count + 1))
    lost = [task.id for task in tasks if task.unreadable]
    assert lost == [number for number in (4, 5, 17) if number <= count]
    with served(PagedProject(count, broken={2, 5})) as web:
        tasks = exported(web.url, page_size=10)
    assert [task.id for task in tasks if task.unreadable] == [2, 5]
    assert "after task 1 cannot be read: GET" in tasks[1].unreadable
    assert "answers 500" in tasks[1].unreadable


def test_an_outage_is_no_bad_task() -> None:
    with served(PagedProject(40, broken=set(range(11, 41)))) as web, pytest.raises(LabelStudioError, match="500"):
        exported(web.url, page_size=10)


def test_answers_that_are_no_tasks_at_all_are_not_gone_around_for_ever() -> None:
    nobody = {number: annotated(id=None) for number in range(1, 41)}
    with served(PagedProject(40, tasks=nobody)) as web, pytest.raises(LabelStudioError, match="no id is a number"):
        exported(web.url, page_size=10)


def test_no_proxy_of_the_environment_gets_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with served(PagedProject(3)) as web:
        assert len(exported(web.url)) == 3


def test_memory_does_not_grow_with_the_tasks(tmp_path: Path) -> None:
    """3,500 annotated tasks take at most a few bytes each more than 500 do."""
    project = PagedProject(1_000, images={"a.jpg": jpeg(16, 16)})
    memory = {}
    with served(project) as web:
        for count in (500, 3_500):
            project.count = count
            command = [sys.executable, "-m", "bench.train_export", web.url, str(tmp_path / str(count))]
            said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
            figures = json.loads(said.stdout)
            assert figures["tasks"] == count
            memory[count] = figures["greatest_memory_mb"]
            web.seen.clear()
    assert memory[3_500] - memory[500] < 6, memory
