"""delete and note: what goes, what stays, what is refused, and what is shown of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.environment import Invocation
from infra.cli.main import app
from shared.errors import LabelloopError, NotFound, NotKnown, StoreRefusal
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import claims, keys
from shared.state.deletion import delete_version
from shared.state.jobs import Jobs
from shared.state.keeping import Keep
from shared.state.notes import LONGEST_NOTE
from shared.state.projects import write_project
from shared.state.pruning import prune
from shared.state.registry import Registry
from shared.state.rollback import move_pointer
from shared.state.versions import WEIGHTS, FileEntry
from tests.fakes.stores import BeforeWrite
from tests.samples.versions import manifest

UID = "1.1700000000"
Labelloop = Callable[..., Result]


@pytest.fixture
def registry(file_store: ObjectStore, tmp_path: Path) -> Registry:
    """Three versions, of which the last is served; v1 and v2 have the same report."""
    write_project(file_store, UID, label_config="<View/>")
    registry = Registry(file_store, UID)
    for number in (1, 2, 3):
        weights = upload(registry, tmp_path, WEIGHTS, f"weights {number}")
        report = upload(registry, tmp_path, "report.html", f"report {max(number, 2)}")
        made = evolve(manifest(number, f"run-{number}"), files=(weights, report))
        registry.publish("label", lambda _number, made=made: made)  # type: ignore[misc]
        registry.promote("label", number, fence=number, run_id=f"run-{number}", expected=number - 1 or None)
    return registry


def upload(registry: Registry, folder: Path, name: str, text: str) -> FileEntry:
    (folder / name).write_text(text)
    return registry.upload_file("label", name, folder / name)


@pytest.fixture
def labelloop(tmp_path: Path, file_store: ObjectStore) -> Labelloop:
    invocation = Invocation({"LABELLOOP_STORE": file_store.url}, tmp_path)
    return lambda *arguments, **more: CliRunner().invoke(app, list(arguments), obj=invocation, **more)


def files(registry: Registry) -> list[str]:
    return sorted(key.rpartition("/")[2] for key in registry.stored_files("label"))


def test_a_version_is_deleted_when_somebody_said_so(labelloop: Labelloop, registry: Registry) -> None:
    assert labelloop("delete", "1", input="n\n").exit_code == 1
    assert len(files(registry)) == 5
    answer = labelloop("delete", "1", "--yes")
    assert answer.output == "label v1 is deleted: 1 files, 0.0 MB; 1 that other versions have too stay\n"
    assert files(registry) == ["report.html", "report.html", WEIGHTS, WEIGHTS]
    assert json.loads(labelloop("delete", "2", "-y", "--json").stdout)["files"] == 2, "the report is nobody's now"
    shown = json.loads(labelloop("versions", "--json").stdout)["versions"]
    assert [(one["outcome"], one["deleted"]) for one in shown] == [("deleted", True)] * 2 + [("unproven", False)]
    assert [one["report"] for one in shown] == [False, False, True]
    assert "deleted" in labelloop("versions").output
    assert [one["report"] for one in shown] == [False, False, True]
    assert json.loads(labelloop("delete", "2", "-y", "--json").stdout)["files"] == 0, "a second call changes nothing"


def test_nothing_takes_it_up_again(labelloop: Labelloop, registry: Registry, file_store: ObjectStore) -> None:
    move_pointer(file_store, UID, "label", 2)
    delete_version(file_store, UID, "label", 3)
    with pytest.raises(NotKnown, match="v3 of 'label' was deleted and cannot be served"):
        move_pointer(file_store, UID, "label", 3)
    registry.reject("label", 2, "a bad file")
    serving = registry.serving("label")
    assert serving is not None
    assert serving.version == 1
    for command in ("export", "dataset"):
        settings = {"LABEL_STUDIO_URL": "http://127.0.0.1:9", "LABEL_STUDIO_API_KEY": "x"}
        invocation = Invocation({"LABELLOOP_STORE": file_store.url} | settings, Path("/nowhere"))
        failed = CliRunner().invoke(app, [command, "3", "--to", "/nowhere/x"], obj=invocation)
        assert isinstance(failed.exception, NotKnown), command
    prune(file_store, UID, Keep(1, 1))
    assert registry.publish("label", lambda made: manifest(made, "run-new")).version == 4, "its number is not taken"


def test_the_newest_report_is_that_of_a_version_that_is_still_there(
    labelloop: Labelloop, file_store: ObjectStore, registry: Registry, tmp_path: Path
) -> None:
    move_pointer(file_store, UID, "label", 1)
    delete_version(file_store, UID, "label", 3)
    assert "labelloop report 2 shows why" in labelloop("versions").output
    assert json.loads(labelloop("report", "--json", "--to", str(tmp_path)).stdout)["version"] == 2
    assert [number for number in registry.numbers("label") if registry.was_deleted("label", number)] == [3]


def test_what_is_needed_is_not_deleted(registry: Registry, file_store: ObjectStore) -> None:
    with pytest.raises(LabelloopError, match="v3 of 'label' is served"):
        delete_version(file_store, UID, "label", 3)
    with pytest.raises(NotKnown, match="no version v9; there are v1, v2, v3"):
        delete_version(file_store, UID, "label", 9)
    registry.reject("label", 3, "a bad file")
    with pytest.raises(LabelloopError, match="v2 of 'label' is served"):
        delete_version(file_store, UID, "label", 2)
    Jobs(file_store, UID).update(claims.take, "run-x", lifetime=60)
    with pytest.raises(LabelloopError, match="is active and may begin from v1"):
        delete_version(file_store, UID, "label", 1)
    assert len(files(registry)) == 5


def test_a_rollback_that_is_under_way_wins_or_fails(registry: Registry, file_store: ObjectStore) -> None:
    """Either the version is served and whole, or it is deleted and not served."""
    slow = BeforeWrite(file_store, lambda: move_pointer(file_store, UID, "label", 1), "pointer.json")
    with pytest.raises(LabelloopError, match="try again"):
        delete_version(slow, UID, "label", 1)
    assert len(files(registry)) == 5
    late = BeforeWrite(file_store, lambda: delete_version(file_store, UID, "label", 2), "pointer.json")
    with pytest.raises((LabelloopError, NotFound)):
        move_pointer(late, UID, "label", 2)
    pointer = registry.pointer("label")
    assert pointer is not None
    assert (pointer.version, pointer.withdrawn) == (1, (2,))


def test_notes(labelloop: Labelloop, registry: Registry, file_store: ObjectStore) -> None:
    assert (
        labelloop("note", "2", "with the \x1b[31mstorm\n pictures").output == "label v2: with the [31mstorm pictures\n"
    )
    assert labelloop("note", "1", "first").exit_code == 0
    assert "v2, a note: with the [31mstorm pictures" in labelloop("versions").output
    assert isinstance(labelloop("note", "7", "x").exception, NotKnown)
    labelloop("note", "1", "")
    assert registry.notes("label") == {2: "with the [31mstorm pictures"}
    labelloop("note", "2", "x" * 600)
    assert len(registry.notes("label")[2]) == LONGEST_NOTE
    shown = json.loads(labelloop("versions", "--json").stdout)["versions"]
    assert [len(one["note"]) for one in shown] == [0, LONGEST_NOTE, 0]
    file_store.put(keys.notes(UID, "label"), b"nonsense")
    assert labelloop("versions").exit_code == 0, "a bad record takes nothing away"


def test_nothing_is_begun_while_a_version_cannot_be_read(
    labelloop: Labelloop, registry: Registry, file_store: ObjectStore
) -> None:
    file_store.put(keys.manifest(UID, "label", 2), b"{")
    before = {key: file_store.get(key) for key in file_store.list("")}
    refused = labelloop("delete", "1", "--yes").exception
    assert isinstance(refused, StoreRefusal)
    assert keys.manifest(UID, "label", 2) in str(refused), "nobody knows which files it shares"
    assert {key: file_store.get(key) for key in file_store.list("")} == before
