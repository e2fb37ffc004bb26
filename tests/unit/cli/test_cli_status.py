"""What `labelloop status` says of a run: where its log is, and what the launcher refused."""

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from functions.train_trigger.status import words
from functions.train_trigger.status.counting import counting
from functions.train_trigger.status.project import ProjectStatus, read_status, read_statuses
from infra.cli.environment import Invocation
from infra.cli.main import app
from infra.cli.status_view import next_steps, render_status
from jobs.prelabel.progress import ProgressWriter as WritingAhead
from jobs.train.checkpoints.spool import Epoch
from jobs.train.data.dataset import Counts
from jobs.train.progress import ProgressWriter
from shared.errors import LabelStudioError, LaunchError, SettingsError
from shared.evolve import evolve
from shared.settings import Settings
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord, Prelabelled
from shared.state.projects import Connection, write_project
from shared.state.runs import Baseline, Totals
from tests.fakes.stores import Clocked
from tests.fakes.trigger_parts import UID, World
from tests.samples.shown_projects import AIRSHIPS, EMPTY, TREES, add_base, fill, manifest, publish

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="Car"/></RectangleLabels></View>"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.label_studio.annotations = 20
    return world


def shown(world: World) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render_status([read_status(world.store, UID, world.settings)], world.store.url))
    return captured.get()


def test_eighty_columns_cut_nothing(world: World) -> None:
    fill(world.store)
    write_project(world.store, EMPTY, label_config=CONFIG.replace('name="label"', f'name="{"outlines_" * 12}"'))
    with (console := Console(width=80)).capture() as captured:
        console.print(render_status(read_statuses(world.store, [TREES, AIRSHIPS, EMPTY], world.settings), "file:///x"))
    text = captured.get()
    assert "…" not in text
    assert text.count("_") == 12, "a long name goes on in the next line"
    said = " ".join(text.split())
    metrics = "mAP50-95 0.402, mAP50 0.683, precision 0.710, recall 0.640, saved 0.430"
    assert f"{metrics} on the val set of its run (28 tasks, 252 boxes)" in said
    assert "weather: balanced accuracy 0.830, top1 0.860 on the val set of its run (20 tasks, 180 labels)" in said


def as_json(world: World) -> Any:
    return json.loads(json.dumps(read_status(world.store, UID, world.settings).as_json()))["run"]


def due(world: World) -> Any:
    return json.loads(json.dumps(read_status(world.store, UID, world.settings).as_json()))["next_training"]


def test_where_the_log_is(world: World) -> None:
    world.reconcile()
    assert "log: log of fake:1" in shown(world)
    assert as_json(world)["logs"] == "log of fake:1"


def test_a_refused_launch(world: World) -> None:
    world.launcher.error = LaunchError("AWS Batch refused: no such queue [gpu]; create it")
    world.reconcile()
    world.reconcile(forced=True)
    world.expire(ago=1)
    text = shown(world)
    assert "its launch was refused 2 times; a sweep tries again, Start Training at once, attempt 1" in text
    assert "the launcher said: AWS Batch refused: no such queue [gpu]; create it" in text
    assert (as_json(world)["refused"], as_json(world)["logs"]) == (2, None)


def test_failed_runs_in_a_row_and_what_the_last_one_said(world: World) -> None:
    world.reconcile()
    world.jobs.update(claims.release, world.job_runs(), outcome="failed", message="20 of 39 images are gone")
    assert "failed 0 s ago, 20 of 39 images are gone" in shown(world)
    world.reconcile(forced=True)
    world.jobs.update(claims.release, world.job_runs(), outcome="failed", message="20 of 39 images are gone")
    assert "failed 0 s ago, 2 failed in a row, 20 of 39 images are gone" in shown(world)


def test_what_is_left_out_is_said_while_the_training_runs(world: World) -> None:
    world.reconcile()
    writer = ProgressWriter(world.jobs, world.claim.run_id, 1)
    counts = Counts(tasks=40, left_out=Counter(broken=1), named=[(3, "it is cut")])
    writer.begin_training("label", 50, counts)
    assert "1 of 40 tasks were left out (1 broken), task 3: it is cut" in shown(world)


def test_what_metrics_are_measured_on_is_said_while_the_training_runs(world: World) -> None:
    write_project(world.store, UID, label_config=CONFIG)
    world.reconcile()
    writer = ProgressWriter(world.jobs, world.claim.run_id, 1)
    writer.begin_training("label", 50, Counts(val=7, val_objects=31))
    writer.epoch(Epoch(number=1, epochs=50, metrics={"mAP50": 0.625}, best=True, finished_at=1.0), None)
    assert "epoch 1/50, mAP50 0.625 on the val set (7 tasks, 31 boxes)" in shown(world)
    assert as_json(world)["progress"]["val_things"] == 31


def test_an_interrupted_attempt(world: World) -> None:
    world.reconcile()
    world.jobs.update(claims.interrupt, world.job_runs(), "SIGTERM")
    text = shown(world)
    assert "interrupted; the next sweep starts the next attempt" in text
    assert "the attempt before ended: SIGTERM" in text


def test_what_is_written_ahead(world: World) -> None:
    assert "Predictions" not in shown(world)
    jobs = Jobs(world.store, UID, prelabelling=True)
    jobs.update(claims.take, "ahead", lifetime=600, kind="prelabel", forced=True)
    assert "Predictions are written: launching, attempt 1" in shown(world)
    claim = jobs.update(claims.start, "ahead", nonce="n", lifetime=600).held
    jobs.update(claims.release, claim, outcome="failed", message="the token was refused")
    assert "Predictions could not be written 0 s ago: the token was refused" in shown(world)
    assert "tried again" not in shown(world), "the project is not connected"
    write_project(world.store, UID, label_config=CONFIG, push=True)
    assert "the token was refused; tried again from " in shown(world)
    assert " UTC on, or at once by `labelloop prelabel` or *Write predictions now* on the page" in shown(world)
    said = read_status(world.store, UID, world.settings).as_json()
    assert said["last_prelabel"]["message"] == "the token was refused"

    def done(record: JobsRecord, now: datetime) -> JobsRecord:
        return evolve(record, prelabelled=Prelabelled(model_version="label:v2", through=9, left=3, written_at=now))

    jobs.update(done)
    assert "Predictions of label:v2 were written 0 s ago, 3 tasks have none" in shown(world)
    assert "not shown" not in shown(world)

    def hidden(record: JobsRecord, _: datetime) -> JobsRecord:
        assert record.prelabelled is not None
        return evolve(record, prelabelled=evolve(record.prelabelled, left=0, shown=False))

    jobs.update(hidden)
    assert "Predictions of label:v2 were written 0 s ago, annotators are not shown them" in shown(world)


def test_nothing_found_is_no_failure_and_reasons_are_told(world: World) -> None:
    def wrote(**values: Any) -> str:
        def done(record: JobsRecord, now: datetime) -> JobsRecord:
            return evolve(
                record, prelabelled=Prelabelled(model_version="label:v2", through=9, written_at=now, **values)
            )

        world.jobs.update(done)
        return shown(world)

    text = wrote(predicted=40, empty=12, left=3, why={"not_found": 2, "broken": 1})
    assert "nothing was found in 12 of the 40 tasks predicted last, 3 tasks have none (2 not_found, 1 broken;" in text
    assert "nothing was found in any of the 40 tasks predicted last" in wrote(predicted=40, empty=40)
    assert "nothing was found" not in wrote(predicted=40)


def test_why_every_task_is_answered_empty(world: World) -> None:
    write_project(world.store, UID, label_config=CONFIG)
    text = shown(world)
    assert "nothing" in text.splitlines()[2]
    assert "Nothing is predicted for label: its base weights yolo11n.pt are not in the store: `labelloop base" in text
    world.jobs.update(claims.take, "base", lifetime=600, kind="base", forced=True)
    world.jobs.update(claims.release, world.job_runs(), outcome="failed", message="yolo11n.pt cannot be downloaded")
    assert "failed 0 s ago, yolo11n.pt cannot be downloaded; tried again from" in shown(world)
    add_base(world.store, "yolo11n.pt", "detect")
    assert "Nothing is predicted" not in shown(world)
    write_project(
        world.store, UID, label_config=CONFIG.replace("RectangleLabels", "Choices").replace("Label", "Choice")
    )
    add_base(world.store, "yolo11n-cls.pt", "classify")
    assert "Nothing is predicted for label: yolo11n-cls.pt has no class that means a label: the first" in shown(world)


def test_a_version_without_a_class_for_any_label_predicts_nothing(world: World) -> None:
    write_project(world.store, UID, label_config=CONFIG)
    publish(world.store, UID, "label", manifest(1, world.store.now(), labels=("Tree",)))
    assert "Nothing is predicted for label: v1 has no class for any label" in shown(world)
    assert read_status(world.store, UID, world.settings).as_json()["controls"][0]["silent"].startswith("v1 has no")
    assert "Nothing is" not in shown_dummy(world), "fixed predictions need no model"


def shown_dummy(world: World) -> str:
    world.settings = evolve(world.settings, dummy=True)
    return shown(world)


def test_when_the_next_training_is_due(world: World) -> None:
    write_project(world.store, UID, label_config=CONFIG)
    assert "Next training: at 5 annotated tasks; `labelloop train` starts it now" in shown(world)
    write_project(world.store, UID, label_config=CONFIG, overrides={"min_annotations": 3})
    assert "Next training: at 3 annotated tasks" in shown(world)
    world.label_studio.annotations = 3
    world.reconcile()
    assert "Next training" not in shown(world), "it runs"
    world.job_ends(world.job_runs())
    assert "Next training: at 6 annotated tasks, or when 3 have changed and 4 min are over" in shown(world)
    assert (due(world)["annotated"], due(world)["not_before"]) == (6, None)
    world.label_studio.annotations = 6
    assert world.reconcile().status == "launched", "a project that doubles does not wait"
    world.job_ends(world.job_runs(), "failed")
    assert f"at 6 annotated tasks, or when 3 have changed, not before {pause_ends(world)} UTC (a failed" in shown(world)
    write_project(world.store, UID, label_config=CONFIG, connection="none")
    assert due(world) is None


def pause_ends(world: World) -> str:
    """As people are told it: with the day, if that is tomorrow."""
    ends = datetime.fromisoformat(due(world)["changes_not_before"])
    return ends.strftime("%H:%M" if ends.date() == world.store.now().date() else "%Y-%m-%d %H:%M")


def test_how_far_the_next_training_is_if_label_studio_tells(world: World) -> None:
    studio = world.label_studio
    write_project(world.store, UID, label_config=CONFIG)
    studio.annotations = 0
    assert "Next training: 0 of 5 annotated tasks\n" in counted(world), "`labelloop train` starts nothing"
    studio.annotations = 3
    assert "No run yet." in counted(world)
    assert "Next training: 3 of 5 annotated tasks; `labelloop train` starts it now" in counted(world)
    studio.annotations = 5
    assert "Next training: 5 of 5 annotated tasks, begins with the next event or sweep" in counted(world)
    world.reconcile()
    assert "Next training" not in counted(world), "it runs"
    world.job_ends(world.job_runs(), "failed")
    ends = pause_ends(world)
    assert f"Next training: 5 of 5 annotated tasks, waits until {ends} UTC (a failed run pauses" in counted(world)
    world.reconcile(forced=True)
    world.job_ends(world.job_runs())
    studio.changed = 2
    ends = pause_ends(world)
    assert f"Next training: 2 of 5 changes since the last run, not before {ends} UTC (the cool-down" in counted(world)
    studio.changed = 5
    assert f"5 of 5 changes since the last run, waits until {ends} UTC (the cool-down after a run)" in counted(world)
    studio.annotations = 10
    assert "5 of 5 changes since the last run, begins with the next event or sweep" in counted(world), "it doubled"
    studio.annotations, studio.changed = 3, 0
    assert "2 of 3 changes since the last run (3 annotated tasks, 2 fewer than it read)" in counted(world)
    studio.annotations = 0
    assert "Next training: none while nothing is annotated; the last run read 5 annotated tasks\n" in counted(world)
    assert due_now(world) is False
    studio.error = LabelStudioError("http://127.0.0.1:8080 is not reachable")
    assert "at 10 annotated tasks, or when 5 have changed and" in counted(world)
    assert "(how many there are is not known: http://127.0.0.1:8080 is not reachable)\n" in counted(world), "nor starts"


def test_in_how_many_tasks_each_label_stands(world: World) -> None:
    write_project(world.store, UID, label_config=CONFIG)
    assert "Annotated tasks with" not in shown(world), "nobody has counted"

    def counted(record: JobsRecord, now: datetime) -> JobsRecord:
        labels = {"label": {"Tree": 21, "Rock\x1b[2J": 1}}
        return evolve(record, baseline=Baseline(totals=Totals(), read_at=now, labels=labels))

    world.jobs.update(counted)
    said = (
        "Annotated tasks with Car: none; not in the labeling config: Tree: 21, Rock[2J: 1 (as the last run read them)"
    )
    assert said in shown(world)
    (control,) = read_status(world.store, UID, world.settings).as_json()["controls"]
    assert control["annotated"]["Tree"] == 21
    write_project(world.store, UID, label_config=CONFIG.replace('value="Car"', 'value="Car" alias="Tree"'))
    assert "Annotated tasks with Tree: 21; not in the labeling config: Rock" in shown(world)


def test_what_the_last_line_of_connect_says(world: World) -> None:
    write_project(world.store, UID, label_config=CONFIG)
    world.label_studio.annotations = 3
    watch = "label away; `labelloop status --watch` and `labelloop open` show what comes of it"
    assert next_steps(read(world)).plain == f"Next training: 3 of 5 annotated tasks; {watch}"
    world.label_studio.annotations = 5
    world.reconcile()
    assert next_steps(read(world)).plain.startswith(f"Run {world.claim.run_id} is active; label away")


def read(world: World) -> ProjectStatus:
    return read_status(world.store, UID, world.settings, count=counting(world.label_studio, patience=10))


def due_now(world: World) -> bool | None:
    following = read(world).next_training
    assert following is not None
    return following.due


def counted(world: World) -> str:
    with (console := Console(width=300)).capture() as captured:
        console.print(render_status([read(world)], world.store.url))
    return captured.get()


def test_how_long_jobs_ran_and_what_waits_for_the_budget(world: World) -> None:
    assert "Jobs ran" not in shown(world)
    world.reconcile()
    claim = world.job_runs()
    clock = Clocked(world.store, claim.started_at.replace(day=20, hour=12))
    world.jobs = Jobs(clock, UID)
    world.change_claim(counted_to=clock.time)
    clock.time += timedelta(minutes=57)
    world.jobs.update(claims.release, claim, outcome="promoted")
    settings = Settings(budget_day=60, budget_month=600, store_budget_day=1000)
    [status] = read_statuses(clock, [UID], settings)
    with (console := Console(width=200)).capture() as captured:
        console.print(render_status([status], clock.url))
    text = captured.get()
    assert "Jobs ran 57 min today, 57 min this month (UTC)" in text
    assert "what is due waits: 57 of the 60 minutes that the project's jobs may run in a day are used" in text
    assert "limit: 57 of the 1000 minutes that the store's jobs" in text, "two projects may share them"
    assert "EUR" not in text
    assert isinstance(status, ProjectStatus)
    body = status.as_json()
    assert (body["minutes_used"], body["cost"]) == ({"day": 57, "month": 57}, None)
    [priced] = read_statuses(clock, [UID], Settings(price_per_hour="0.8 EUR"))
    assert isinstance(priced, ProjectStatus)
    assert words.used_sentence(priced)[0].text == (
        "Jobs ran 57 min (0.76 EUR) today, 57 min (0.76 EUR) this month (UTC), at 0.80 EUR an hour"
    )
    assert priced.as_json()["cost"]["month"] == {"amount": 0.76, "currency": "EUR"}
    assert [(one["whose"], one["period"], one["minutes"], one["too_little"]) for one in body["limits"]] == [
        ("project", "day", 60, True), ("project", "month", 600, False), ("store", "day", 1000, False),
    ]  # fmt: skip


def test_how_far_the_writing_is(world: World) -> None:
    jobs = Jobs(world.store, UID, prelabelling=True)
    jobs.update(claims.take, "ahead", lifetime=600, kind="prelabel", workers=3, forced=True)
    WritingAhead(jobs, "of before", "label:v2", 70).write(0)
    assert "70" not in shown(world)
    WritingAhead(jobs, "ahead", "label:v3", 40).write(0)
    assert "attempt 1, 3 jobs share the tasks" in shown(world)
    assert "0 of 40 tasks have label:v3" in shown(world)
    assert read_status(world.store, UID, world.settings).as_json()["prelabel"]["progress"]["tasks"] == 40
    claim = jobs.update(claims.start, "ahead", nonce="n", lifetime=600).held
    jobs.update(claims.release, claim, outcome="prelabelled")
    assert "of 40 tasks" not in shown(world)


@pytest.mark.parametrize(
    ("connection", "said"),
    [("inbound", ""), ("outbound", "Connected without inbound calls"), ("none", "Disconnected")],
)
def test_how_the_project_is_connected(world: World, connection: Connection, said: str) -> None:
    write_project(world.store, UID, label_config=CONFIG, connection=connection)
    assert said in shown(world)
    assert ("onnected" in shown(world)) == bool(said)
    assert read_status(world.store, UID, world.settings).as_json()["connection"] == connection


def test_what_a_person_watches_is_no_json(world: World, tmp_path: Path) -> None:
    invocation = Invocation({"LABELLOOP_STORE": world.store.url}, tmp_path)
    refused = CliRunner().invoke(app, ["status", "--watch", "--json"], obj=invocation)
    assert isinstance(refused.exception, SettingsError)
    assert refused.stdout == ""
