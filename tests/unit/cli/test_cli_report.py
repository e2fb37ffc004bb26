"""report: which one is shown, that it is the one that was written, and what is said where there is none."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.environment import Invocation
from infra.cli.main import app
from shared.errors import LabelloopError, ModelError, NotFound, NotKnown
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.registry import Registry
from shared.state.versions import REPORT, FileEntry, Gate, Manifest

UID, CONTROL = "1.1700000000", "../trees | all"
Labelloop = Callable[..., Result]


@pytest.fixture
def labelloop(tmp_path: Path, file_store: ObjectStore) -> Labelloop:
    """Runs the command on the store, with nothing else set."""
    invocation = Invocation({"LABELLOOP_STORE": file_store.url}, tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)), obj=invocation)


def publish(store: ObjectStore, folder: Path, *, passed: bool = True, report: bool = True) -> Manifest:
    registry = Registry(store, UID)
    number = max(registry.numbers(CONTROL), default=0) + 1
    files = tuple[FileEntry, ...]()
    if report:
        (folder / REPORT).write_text(f"<p>the report of v{number}</p>")
        files = (registry.upload_file(CONTROL, REPORT, folder / REPORT),)
    gate = Gate(
        metric="mAP50-95", challenger=0.5, champion=None, champion_version=number - 1 or None,
        passed=passed, reason="why",
    )  # fmt: skip
    manifest = registry.publish(
        CONTROL,
        lambda version: Manifest(
            version=version, control=CONTROL, yolo_task="detect", labels=("Tree",), files=files, metrics={}, gate=gate,
            lineage={}, run_id=f"run-{version}", fence=version, created_at=datetime(2026, 1, version, tzinfo=UTC),
        ),
    )  # fmt: skip
    if passed:
        registry.promote(CONTROL, number, fence=number, run_id=manifest.run_id, expected=number - 1 or None)
    return manifest


def test_the_newest_report_is_shown_also_of_a_version_that_was_rejected(
    labelloop: Labelloop, file_store: ObjectStore, tmp_path: Path
) -> None:
    publish(file_store, tmp_path)
    publish(file_store, tmp_path, passed=False)
    said = json.loads(labelloop("report", "--json", "--to", tmp_path).stdout)
    assert (said["version"], said["outcome"], said["serving"], said["opened"]) == (2, "rejected", False, False)
    assert Path(said["report"]).read_text() == "<p>the report of v2</p>"
    assert Path(said["report"]).parent == tmp_path, "a name in the path leads nowhere else"


def test_a_certain_one_and_where_it_is_written(labelloop: Labelloop, file_store: ObjectStore, tmp_path: Path) -> None:
    publish(file_store, tmp_path)
    publish(file_store, tmp_path)
    result = labelloop("report", 1, "--no-browser", "--to", tmp_path / "mine.html")
    assert "v1 (unproven): " in result.stdout
    assert (tmp_path / "mine.html").read_text() == "<p>the report of v1</p>"
    elsewhere = json.loads(labelloop("report", "--json").stdout)
    assert elsewhere["serving"]
    assert Path(elsewhere["report"]).read_text() == "<p>the report of v2</p>"
    problem = labelloop("report", 1, "--to", tmp_path / "nowhere" / "x.html").exception
    assert isinstance(problem, LabelloopError)
    assert "there is no folder" in str(problem)


def test_without_a_report_it_says_so(labelloop: Labelloop, file_store: ObjectStore, tmp_path: Path) -> None:
    assert isinstance(labelloop("report").exception, NotKnown)
    publish(file_store, tmp_path, report=False)
    problem = labelloop("report", 1).exception
    assert isinstance(problem, NotKnown)
    assert "v1" in str(problem)
    assert "has no report" in str(problem)
    assert "there are v1" in str(labelloop("report", 7).exception)
    assert "labelloop report" not in labelloop("versions").stdout


def test_a_damaged_or_missing_report_is_not_shown(
    labelloop: Labelloop, file_store: ObjectStore, tmp_path: Path
) -> None:
    entry = publish(file_store, tmp_path).file(REPORT)
    assert "labelloop report 1" in labelloop("versions").stdout
    key = keys.file(UID, CONTROL, entry.sha256, REPORT)
    file_store.put(key, b"another one")
    folder = tmp_path / "empty"
    folder.mkdir()
    assert isinstance(labelloop("report", "--no-browser", "--to", folder).exception, ModelError)
    file_store.delete(key)
    assert isinstance(labelloop("report", "--no-browser", "--to", folder).exception, NotFound)
    assert not list(folder.iterdir())
