"""Commands over a store in which one record is damaged: it is named, the others are shown, the exit code says it."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from functions.train_trigger.status.project import read_statuses
from infra.cli.environment import Invocation
from infra.cli.main import app
from infra.cli.status_view import render_status
from infra.local.base_weights import missing, refuse_missing_files
from shared.errors import NotKnown
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import keys
from shared.state.jobs import Jobs
from shared.state.notices import Notice
from shared.state.registry import Registry
from tests.samples.shown_projects import AIRSHIPS, EMPTY, TREES, fill

DAMAGED = (b"", b'{"fence"', b"[]", b"\xff\xfe{}")
RECORDS = {
    "claims": keys.jobs(TREES),
    "project": keys.project(TREES),
    "pointer": keys.pointer(AIRSHIPS, "outline"),
    "served version": keys.manifest(AIRSHIPS, "outline", 1),
}


@pytest.fixture
def store(file_store: ObjectStore) -> ObjectStore:
    fill(file_store)
    return file_store


@pytest.fixture
def labelloop(store: ObjectStore, tmp_path: Path) -> Any:
    environ = {"LABELLOOP_STORE": store.url, "LABELLOOP_KEEP_RUNS": "1"}
    return lambda *words: CliRunner().invoke(app, words, obj=Invocation(environ, tmp_path), env={"COLUMNS": "400"})


@pytest.mark.parametrize("data", DAMAGED)
@pytest.mark.parametrize("record", ["claims", "project"])
def test_status_shows_the_other_projects(record: str, data: bytes, labelloop: Any, store: ObjectStore) -> None:
    store.put(RECORDS[record], data)
    shown = labelloop("status")
    assert shown.exit_code == 1
    assert "Airships over the bay" in shown.output
    assert "Herd counts, spring" in shown.output
    (problem,) = (line for line in shown.output.splitlines() if "cannot be read" in line)
    assert problem.startswith(f"project {TREES} cannot be read: ")
    assert RECORDS[record] in problem
    body = json.loads((answer := labelloop("status", "--json")).output)
    assert answer.exit_code == 1
    assert [one["uid"] for one in body["projects"]] == [AIRSHIPS, EMPTY]
    assert [one["uid"] for one in body["unreadable"]] == [TREES]
    assert RECORDS[record] in body["unreadable"][0]["error"]
    assert labelloop("status", "-p", "8").exit_code == 0


@pytest.mark.parametrize(
    ("record", "data"),
    [("pointer", DAMAGED[0]), *(("served version", data) for data in (*DAMAGED, None))],  # None: it is not there
)
def test_status_shows_the_other_controls(record: str, data: bytes | None, labelloop: Any, store: ObjectStore) -> None:
    store.delete(RECORDS[record])
    if data is not None:
        store.put(RECORDS[record], data)
    for words in (("status",), ("status", "-p", "8"), ("policy", "-p", "8")):
        shown = labelloop(*words)
        assert shown.exit_code == 1
        assert "weather" in shown.output
        assert shown.output.count(RECORDS[record]) == 1
    named = "v?" if record == "pointer" else "v1"
    lines = labelloop("status").output.splitlines()
    assert any(" ".join(line.split()).startswith(f"outline segment {named}, which cannot be read") for line in lines)
    assert any(line.split() == ["weather", "classify", "v1", "1"] for line in lines)
    told = {one["control"]: one for one in json.loads(labelloop("status", "--json").output)["projects"][1]["controls"]}
    assert RECORDS[record] in told["outline"]["unreadable"][0]
    assert (told["weather"]["serving"], told["weather"]["unreadable"]) == (1, [])


def test_damaged_base_weights_take_nothing_else_away(labelloop: Any, store: ObjectStore) -> None:
    key = keys.base_weights("yolo11n.pt")
    store.put(key, b"")
    shown = labelloop("status")
    assert shown.exit_code == 1
    assert "Nothing is predicted for label: the record of its base weights cannot be read" in shown.output
    assert shown.output.count(key) == 1
    assert "Herd counts, spring" in shown.output
    listed = labelloop("base", "list")
    assert listed.exit_code == 1
    assert "yolo11n-seg.pt" in listed.output
    assert key in listed.output
    body = json.loads(labelloop("base", "list", "--json").output)
    assert [one["name"] for one in body["base"]] == ["yolo11n-seg.pt"]
    assert key in body["unreadable"][0]


def test_versions_lists_those_that_can_be_read(labelloop: Any, store: ObjectStore) -> None:
    key = keys.manifest(TREES, "label", 3)
    store.put(key, b"{}")
    shown = labelloop("versions", "-p", "7")
    assert shown.exit_code == 1
    assert "→ v10" in shown.output
    assert key in shown.output
    body = json.loads(labelloop("versions", "-p", "7", "--json").output)
    assert [one["version"] for one in body["versions"]] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert key in body["unreadable"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("epoch", 10**30), ("epoch", -5), ("eta_seconds", 1e30), ("eta_seconds", float("nan"))],
)
def test_odd_numbers_of_progress_take_nothing_away(
    field: str, value: float, labelloop: Any, store: ObjectStore
) -> None:
    claim = Jobs(store, TREES).read().held
    key = keys.run(TREES, claim.run_id, "progress.json")
    store.put(key, json.dumps(json.loads(store.get(key).data) | {field: value}).encode())  # type: ignore[union-attr]
    shown = labelloop("status")
    assert shown.exit_code == 0
    assert "Airships over the bay" in shown.output


def test_status_that_is_watched_goes_on(store: ObjectStore) -> None:
    store.put(keys.jobs(TREES), b"")
    with (console := Console(width=300)).capture() as captured:
        console.print(render_status(read_statuses(store, [TREES, AIRSHIPS], Settings()), store.url))
    assert f"project {TREES} cannot be read: {keys.jobs(TREES)} in " in captured.get()
    assert "Airships over the bay" in captured.get()


def test_notices_of_other_projects_are_shown(labelloop: Any, store: ObjectStore) -> None:
    notice = Notice(id="a", event="failed", at=store.now(), message="why")
    Jobs(store, AIRSHIPS).update(lambda record, _now: evolve(record, notices=(notice,)))
    store.put(keys.jobs(TREES), b"")
    shown = labelloop("notify")
    assert shown.exit_code == 1
    assert "failed" in shown.output
    assert keys.jobs(TREES) in shown.output
    body = json.loads(labelloop("notify", "--json").output)
    assert [one["id"] for one in body["notices"]] == ["a"]
    assert [one["uid"] for one in body["unreadable"]] == [TREES]


@pytest.mark.parametrize("record", ["claims", "pointer", "served version"])
def test_prune_goes_on_with_the_other_projects(record: str, labelloop: Any, store: ObjectStore) -> None:
    bad, other = (TREES, AIRSHIPS) if TREES in RECORDS[record] else (AIRSHIPS, TREES)
    left = keys.run(other, "20250101-000000-00000000", "request.json")
    store.put(left, b"of a run that ended long ago")
    store.put(keys.run(other, "20261231-000000-00000000", "request.json"), b"of the newest run")
    store.put(keys.run(bad, "20250101-000000-00000000", "request.json"), b"of a run that ended long ago")
    store.put(RECORDS[record], b"")
    before = set(store.list(""))
    body = json.loads((planned := labelloop("prune", "--dry-run", "--json")).output)
    assert planned.exit_code == 1
    assert left in [key for one in body["projects"][other] for key in one["keys"]]
    shown = labelloop("prune")
    assert shown.exit_code == 1
    assert f"project {bad} cannot be read: {RECORDS[record]}" in shown.output
    gone = before - set(store.list(""))
    assert left in gone
    assert not any(bad in key for key in gone), "nothing of a project that cannot be read"


def test_a_project_that_cannot_be_read_is_named_by_its_uid(labelloop: Any, store: ObjectStore) -> None:
    store.put(keys.project(TREES), b"")
    failed = labelloop("train").exception
    assert isinstance(failed, NotKnown)
    assert f"--project is needed: the store {store.url} holds {TREES}, {AIRSHIPS} (Airships over the bay)" in str(
        failed
    )


@pytest.mark.parametrize("key", [keys.project(TREES), keys.pointer(TREES, "label"), keys.base_weights("yolo11n.pt")])
def test_labelloop_up_makes_what_the_others_lack(key: str, store: ObjectStore) -> None:
    Registry(store, AIRSHIPS).reject("outline", 1, "bad")
    for folder in ("yolo11n-seg.pt", "yolo11n-cls.pt"):
        store.delete(keys.base_weights(folder))
    store.put(key, b"")
    settings = evolve(Settings(), base_weights="yolo11n.pt")
    assert missing(store, settings) == ["yolo11n-seg.pt"]
    refuse_missing_files(store, settings)


@pytest.mark.parametrize("name", ["notes.json", f"files/{'a' * 64}/weights.pt"])
def test_a_control_without_a_version_is_none_to_choose(name: str, labelloop: Any, store: ObjectStore) -> None:
    store.put(f"{keys.control_folder(TREES, 'new')}/{name}", b"{}")
    assert labelloop("versions", "-p", "7").exit_code == 0
    for word in ("versions", "report"):
        failed = labelloop(word, "-p", "7", "-c", "new").exception
        assert isinstance(failed, NotKnown)
        assert "no versions of a control 'new'; there are versions of 'label'" in str(failed)


def test_without_any_version_there_is_no_report(labelloop: Any, store: ObjectStore) -> None:
    for key in list(store.list(f"{keys.versions(TREES, 'label')}/")):
        store.delete(key)
    failed = labelloop("report", "-p", "7").exception
    assert isinstance(failed, NotKnown)
    assert "has no version of any control yet" in str(failed)
