"""status, versions, rollback and train on a real store: what they read, what they move, how they fail."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from functions.train_trigger.status.words import age
from infra.cli.environment import Invocation
from infra.cli.main import app
from shared.errors import ClaimLost, LaunchError, NotKnown, SettingsError
from shared.objectstore import ObjectStore
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.state.rollback import move_pointer
from shared.state.runs import Progress
from shared.state.versions import GRAPH, FileEntry, Gate, Manifest
from shared.yolo_task import YoloTask
from tests.fakes.stores import Clocked
from tests.samples.shown_projects import add_base

UID, OTHER = "1.1700000000", "2.1700000001"
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="Tree"/>'
    '</RectangleLabels><RectangleLabels name="cars" toName="image"><Label value="Car"/></RectangleLabels></View>'
)
Labelloop = Callable[..., Result]


@pytest.fixture
def labelloop(tmp_path: Path, file_store: ObjectStore) -> Labelloop:
    """Runs the command on the store, with nothing else set."""
    invocation = Invocation({"LABELLOOP_STORE": file_store.url}, tmp_path)
    return lambda *arguments, **options: CliRunner().invoke(app, list(arguments), obj=invocation, **options)


def publish(
    store: ObjectStore,
    control: str,
    number: int,
    *,
    uid: str = UID,
    serve: bool = True,
    yolo_task: YoloTask = "detect",
    measured: tuple[int, int] = (0, 0),
    against: str | None = None,
    worse: float | None = None,
    files: tuple[FileEntry, ...] = (),
    lineage: dict[str, Any] | None = None,
    metric: str = "mAP50-95",
    **metrics: float,
) -> None:
    """One version with a few metrics, and the pointer on it."""
    metrics = metrics or {"mAP50": number / 10, "precision": 0.5}
    registry = Registry(store, uid)
    before = registry.pointer(control)
    expected = before.version if before else None
    gate = Gate(
        metric=metric, challenger=0.5, champion=None, champion_version=expected, passed=True, reason="the first",
        tasks=measured[0], things=measured[1], against=against, worse=worse,
    )  # fmt: skip

    def build(version: int) -> Manifest:
        return Manifest(
            version=version, control=control, yolo_task=yolo_task, labels=("Tree",), files=files,
            metrics=metrics, gate=gate, lineage=lineage or {}, run_id=f"run-{number}",
            fence=number, created_at=datetime(2026, 1, number, tzinfo=UTC),
        )  # fmt: skip

    assert registry.publish(control, build).version == number
    if serve:
        registry.promote(control, number, fence=number, run_id=f"run-{number}", expected=expected)


def body(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def test_status_of_an_empty_store_says_what_to_do(labelloop: Labelloop, file_store: ObjectStore) -> None:
    assert "labelloop connect" in " ".join(labelloop("status").output.split())
    assert body(labelloop("status", "--json")) == {"projects": [], "unreadable": []}


def test_status_shows_every_control_its_version_and_metrics(labelloop: Labelloop, file_store: ObjectStore) -> None:
    write_project(file_store, UID, label_config=CONFIG, title="Trees\x1b [bold]of[/] Yellowstone")
    publish(file_store, "label", 1)
    publish(file_store, "label", 2)

    (project,) = body(labelloop("status", "--json"))["projects"]

    label, cars = project["controls"]
    assert (label["control"], label["pointer"], label["serving"], label["versions"]) == ("label", 2, 2, 2)
    assert label["metrics"]["mAP50"] == 0.2
    assert (cars["control"], cars["pointer"], cars["serving"], cars["yolo_task"]) == ("cars", None, None, "detect")
    assert (project["run"], project["last_run"]) == (None, None)
    shown = labelloop("status").output
    assert "Trees [bold]of[/] Yellowstone" in shown
    assert "base weights" in shown
    assert "0.200" in shown


def test_status_of_a_control_whose_yolo_task_was_changed(labelloop: Labelloop, file_store: ObjectStore) -> None:
    write_project(file_store, UID, label_config=CONFIG.replace('"label"', '"label" model_obb="true"'), title="Trees")
    publish(file_store, "label", 1)
    label = body(labelloop("status", "--json"))["projects"][0]["controls"][0]
    assert (label["yolo_task"], label["serving"], label["other_task"], label["metrics"]) == ("obb", None, "detect", {})
    assert "nothing (v1 is for detect)" in labelloop("status").output, "there are no base weights either"
    add_base(file_store, "yolo11n-obb.pt", "obb")
    assert "base weights (v1 is for detect)" in labelloop("status").output


def test_status_says_what_of_the_labeling_config_is_not_understood(
    labelloop: Labelloop, file_store: ObjectStore
) -> None:
    config = CONFIG.replace("<View>", '<View><TextArea name="[red]why" toName="image"/>')
    write_project(file_store, UID, label_config=config, title="Trees")
    sentence = "<TextArea> '[red]why' is not served: labelloop knows no such control"
    assert body(labelloop("status", "--json"))["projects"][0]["not_understood"] == [sentence]
    assert f"! {sentence}" in labelloop("status").output

    write_project(file_store, UID, label_config="<View>", title="Trees")
    assert "not well-formed XML" in labelloop("status").output


def test_status_says_that_a_version_failed_verification(labelloop: Labelloop, file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "label", 2)
    Registry(file_store, UID).reject("label", 2, "SHA-256 differs")

    (control,) = body(labelloop("status", "--json"))["projects"][0]["controls"]

    assert (control["pointer"], control["serving"]) == (2, 1)
    assert "v1 (v2 failed" in labelloop("status").output


def test_status_shows_the_running_job(labelloop: Labelloop, file_store: ObjectStore) -> None:
    write_project(file_store, UID, label_config=CONFIG)
    jobs = Jobs(file_store, UID)
    claim = jobs.update(claims.take, "run", lifetime=600, forced=True).held
    jobs.update(claims.start, claim.run_id, nonce="nonce-of-the-process", lifetime=600)
    progress = Progress(
        phase="train", attempt=1, updated_at=file_store.now(), control="label", epoch=12, epochs=50, eta_seconds=400.0,
        metrics={"mAP50": 0.41},
    )  # fmt: skip
    jobs.runs.write_progress(claim.run_id, progress)

    run = body(labelloop("status", "-p", "1", "--json"))["projects"][0]["run"]

    assert (run["run_id"], run["state"], run["attempt"]) == (claim.run_id, "running", 1)
    assert (run["progress"]["epoch"], run["progress"]["epochs"], run["progress"]["eta_seconds"]) == (12, 50, 400.0)
    assert "nonce-of-the-process" not in json.dumps(run)
    shown = " ".join(labelloop("status").output.split())
    assert "epoch 12/50" in shown
    assert "6 min to go" in shown
    assert "mAP50 0.410 on the val set" in shown


def test_status_shows_how_the_last_run_ended(labelloop: Labelloop, file_store: ObjectStore) -> None:
    jobs = Jobs(file_store, UID)
    claim = jobs.update(claims.take, "run", lifetime=600, forced=True).held
    jobs.update(claims.release, claim, outcome="failed", baseline=None, message="no image could be fetched")

    shown = " ".join(labelloop("status").output.split())

    assert "failed" in shown
    assert "no image could be fetched" in shown


def test_versions_mark_the_one_that_is_served(labelloop: Labelloop, file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "label", 2, serve=False)

    found = body(labelloop("versions", "--json"))

    assert [(version["version"], version["serving"]) for version in found["versions"]] == [(1, True), (2, False)]
    assert "→ v1" in labelloop("versions").output


def test_metrics_are_those_of_the_tasks(labelloop: Labelloop, file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)
    assert "top1" not in labelloop("versions").output
    right: dict[str, Any] = {"top1": 0.75, "balanced accuracy": 0.5}
    publish(file_store, "weather", 1, yolo_task="classify", measured=(1, 1), metric="balanced accuracy", **right)
    shown = labelloop("versions", "-c", "weather").output
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[1:3] == ["balanced", "outcome tasks val took accuracy against sure made (UTC)"]
    assert lines[3] == "→ v1 unproven 0.500 01-01 00:00"
    shown = labelloop("status", env={"COLUMNS": "120"}).output
    assert "label: mAP50 0.100, precision 0.500 on the val set" in shown
    assert "weather: balanced accuracy 0.500, top1 0.750 on the val set of its run (1 task, 1 label)" in shown


def test_metrics_stand_beside_what_they_were_measured_on(labelloop: Labelloop, file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)  # of a run that did not count
    publish(file_store, "label", 2, measured=(4, 31), against="v1", worse=0.123, saved=0.4)
    first, second = body(labelloop("versions", "--json"))["versions"]
    assert (second["gate"]["tasks"], second["gate"]["things"]) == (4, 31)
    assert (second["gate"]["worse"], second["gate"]["against"], first["gate"]["worse"]) == (0.123, "v1", None)
    assert second["shown"] == {}
    (project,) = body(labelloop("status", "--json"))["projects"]
    assert project["controls"][0]["gate"]["things"] == 31
    assert "4 tasks, 31 boxes" in labelloop("status").output


def test_a_version_is_one_line_of_eighty_columns(labelloop: Labelloop, file_store: ObjectStore) -> None:
    made = {"tasks": {"train": 1160, "val": 290}, "seconds": 731}
    score: dict[str, Any] = {"mAP50-95": 0.4}
    for number in range(1, 11):
        publish(file_store, "label", number, measured=(4, 31), against=f"v{number - 1}", lineage=made, **score)
    Registry(file_store, UID).reject("label", 3, "SHA-256 differs")
    name = "a control whose name is longer than a line of a terminal that has eighty columns [/x]"
    publish(file_store, name, 1, worse=0.1, **score)
    lines = labelloop("versions", "-c", "label", env={"COLUMNS": "80"}).output.splitlines()
    assert lines[1].split() == ["outcome", "tasks", "val", "took", "mAP50-95", "against", "sure", "made", "(UTC)"]
    assert lines[11].split() == ["→", "v10", "unproven", "1160", "290", "12", "min", "0.400", "01-10", "00:00"]
    assert (lines[4].split()[1:3], "…" in "".join(lines)) == (["bad", "file"], False)
    assert len(lines) == 15  # title, heading, ten versions, the newest one's reason, and what unproven means
    assert name in " ".join(labelloop("versions", "-c", name).output.split())
    assert "v1: promoted: the first" in labelloop("versions", "-c", name).output


def test_versions_say_what_they_cost_in_eighty_columns_too(labelloop: Labelloop, file_store: ObjectStore) -> None:
    made = {"tasks": {"train": 1160, "val": 290}, "seconds": 7140}
    score: dict[str, Any] = {"mAP50-95": 0.4}
    publish(file_store, "label", 1, lineage=made, **score)
    for number in range(2, 12):
        priced = made | {"price_per_hour": "50 EUR"}
        publish(file_store, "label", number, against=f"v{number - 1}", worse=0.1, lineage=priced, serve=False, **score)
    lines = labelloop("versions", env={"COLUMNS": "80"}).output.splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["cost"], ["outcome", "tasks", "val", "took", "EUR", "mAP50-95", "against", "sure", "made", "(UTC)"],
    ]  # fmt: skip
    assert lines[3].split() == ["→", "v1", "unproven", "1160", "290", "119", "min", "0.400", "01-01", "00:00"]
    assert lines[13].split()[:9] == ["v11", "not", "promoted", "1160", "290", "119", "min", "99.17", "0.400"]
    assert "…" not in "".join(lines)
    first, *_, last = body(labelloop("versions", "--json"))["versions"]
    assert (first["cost"], last["cost"]) == (None, {"amount": 99.166667, "currency": "EUR"})
    publish(file_store, "other", 1, lineage=made | {"price_per_hour": "0.01"}, **score)
    assert "0.020" in labelloop("versions", "-c", "other").output
    publish(file_store, "other", 2, lineage=made | {"price_per_hour": "1 USD"}, **score)
    publish(file_store, "other", 3, lineage={"price_per_hour": ["no price"], "seconds": "no time"}, **score)
    mixed = labelloop("versions", "-c", "other").output
    assert [word for word in mixed.split() if word in ("0.020", "1.98", "USD")] == ["0.020", "1.98", "USD"]


def test_status_says_what_a_run_that_came_to_nothing_cost(labelloop: Labelloop, file_store: ObjectStore) -> None:
    clock = Clocked(file_store, datetime(2026, 1, 1, tzinfo=UTC))
    jobs = Jobs(clock, UID)
    jobs.update(claims.take, "run", lifetime=600, forced=True, price="1.20 EUR")
    claim = jobs.update(claims.start, "run", nonce="n", lifetime=600).held
    clock.time += timedelta(minutes=6)
    jobs.update(claims.release, claim, outcome="failed", message="no image could be fetched")
    assert "took 6 min, cost 0.12 EUR, no image" in " ".join(labelloop("status").output.split())
    last = body(labelloop("status", "--json"))["projects"][0]["last_run"]
    assert (last["seconds"], last["cost"]) == (360, {"amount": 0.12, "currency": "EUR"})


def test_a_promotion_that_was_lost_to_a_rollback_is_not_called_one(
    labelloop: Labelloop, file_store: ObjectStore
) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "label", 2)
    move_pointer(file_store, UID, "label", 1)
    publish(file_store, "label", 3, serve=False)  # it trained meanwhile
    (_, second, third) = body(labelloop("versions", "--json"))["versions"]
    assert (second["outcome"], third["outcome"]) == ("rolled back", "not promoted")
    assert third["why"] == "somebody rolled back while it trained"
    shown = " ".join(labelloop("versions").output.split())
    assert "v3: not promoted: somebody rolled back while it trained; `labelloop rollback --to 3` serves it" in shown
    fence = Registry(file_store, UID).fence()
    publish(file_store, "label", 4, serve=False, worse=0.1)
    Registry(file_store, UID).promote("label", 4, fence=fence, run_id="run-4", expected=1)
    outcomes = [version["outcome"] for version in body(labelloop("versions", "--json"))["versions"]]
    assert outcomes == ["unproven", "rolled back", "not promoted", "promoted"]


def test_a_name_that_looks_like_markup_is_shown_as_it_is(labelloop: Labelloop, file_store: ObjectStore) -> None:
    publish(file_store, "[/x]", 1)
    for command in (("versions",), ("rollback", "--to", "1")):
        shown = labelloop(*command)
        assert (shown.exit_code, "[/x]" in shown.output) == (0, True), shown.output


def test_rollback_and_forward_again(labelloop: Labelloop, file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "label", 2)

    back = body(labelloop("rollback", "--to", "1", "--json"))
    again = body(labelloop("rollback", "--to", "1", "--json"))
    listed, shown = body(labelloop("versions", "--json")), labelloop("versions").output
    forward = body(labelloop("rollback", "--to", "2", "--json"))

    assert (back["before"], back["version"], back["moved"]) == (2, 1, True)
    assert [(one["version"], one["rolled_back"]) for one in listed["versions"]] == [(1, False), (2, True)]
    assert "v2: rolled back: somebody went back from it; the gate had said: the first" in " ".join(shown.split())
    assert not again["moved"]
    assert forward["moved"]
    pointer = Registry(file_store, UID).pointer("label")
    assert pointer is not None
    assert (pointer.version, pointer.reason) == (2, "rollback")


def test_a_rollback_without_a_number_goes_to_the_good_version_before(
    labelloop: Labelloop, file_store: ObjectStore
) -> None:
    for number in (1, 2, 3, 4):
        publish(file_store, "label", number)
    Registry(file_store, UID).reject("label", 3, "SHA-256 differs")
    moves = [(one["before"], one["version"]) for one in (body(labelloop("rollback", "--json")) for _ in range(2))]
    assert moves == [(4, 2), (2, 1)]
    with pytest.raises(NotKnown, match="v1 has no good version before it"):
        labelloop("rollback", catch_exceptions=False)
    assert body(labelloop("rollback", "--to", "4", "--json"))["moved"]


def test_a_version_without_a_graph_is_not_said_to_be_served(labelloop: Labelloop, file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "label", 2, files=(FileEntry(name=GRAPH, sha256="1" * 64, size=1),))
    assert "it is served once a job has made one" in " ".join(labelloop("rollback", "--to", "1").output.split())
    assert labelloop("rollback", "--to", "2").output == "label: serves v2 now (was v1)\n"


def test_a_run_that_was_active_cannot_undo_a_rollback(file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "label", 2)
    registry = Registry(file_store, UID)
    claim = (
        Jobs(file_store, UID)
        .update(claims.take, "run", lifetime=600, forced=True, registry_fence=registry.fence())
        .held
    )
    publish(file_store, "label", 3, serve=False)

    move_pointer(file_store, UID, "label", 1)

    with pytest.raises(ClaimLost):
        registry.promote("label", 3, fence=claim.fence, run_id=claim.run_id, expected=1)


def test_rollback_refuses_what_cannot_be_served(file_store: ObjectStore) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "label", 2)
    Registry(file_store, UID).reject("label", 1, "SHA-256 differs")

    with pytest.raises(NotKnown, match="there are v1, v2"):
        move_pointer(file_store, UID, "label", 7)
    with pytest.raises(NotKnown, match="failed verification"):
        move_pointer(file_store, UID, "label", 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "1"], "--control is needed; there are versions of 'cars', 'label'"),
        (["-p", "1", "-c", "poly"], "no versions of a control 'poly'; there are versions of 'cars', 'label'"),
        (["-p", OTHER], f"project {OTHER} has no version of any control yet"),
        ([], rf"--project is needed: .* holds {UID}, {OTHER} \(Herd counts\); give one of these ids"),
        (["-p", "3"], rf"holds no project 3; it holds {UID}, {OTHER} \(Herd counts\)"),
        (["-p", "trees"], "'trees' is neither the id nor the uid"),
        (["-p", "1.5"], "holds no project 1.5"),
    ],
)
def test_what_is_not_clear_is_said(
    labelloop: Labelloop, file_store: ObjectStore, arguments: list[str], sentence: str
) -> None:
    publish(file_store, "label", 1)
    publish(file_store, "cars", 1)
    write_project(file_store, OTHER, label_config=CONFIG, title="Herd \x1bcounts")

    with pytest.raises(NotKnown, match=sentence):
        labelloop("versions", *arguments, catch_exceptions=False)


def test_an_id_of_two_installations_needs_the_uid(labelloop: Labelloop, file_store: ObjectStore) -> None:
    for uid in (UID, "1.1800000000"):
        publish(file_store, "label", 1, uid=uid)

    with pytest.raises(NotKnown, match=rf"{UID}, 1\.1800000000; give one of these ids as --project, or the uid"):
        labelloop("versions", "-p", "1", catch_exceptions=False)
    assert body(labelloop("versions", "-p", UID, "--json"))["project"] == UID


def test_train_without_the_function_says_what_to_start(
    labelloop: Labelloop, tmp_path: Path, file_store: ObjectStore
) -> None:
    write_project(file_store, UID, label_config=CONFIG)
    for command in ("train", "prelabel", "stop", "open"):
        with pytest.raises(SettingsError, match=r"where is functions/train_trigger\? .* made labelloop\.env"):
            labelloop(command, catch_exceptions=False)
    (tmp_path / "labelloop.env").write_text("TRAIN_TRIGGER_URL=http://127.0.0.1:1\n")

    with pytest.raises(LaunchError, match=r"not reachable at TRAIN_TRIGGER_URL=http://127\.0\.0\.1:1 .*labelloop up"):
        labelloop("train", catch_exceptions=False)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-1, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200000, "2 d")]
)
def test_age(seconds: int, shown: str) -> None:
    assert age(timedelta(seconds=seconds)) == shown
