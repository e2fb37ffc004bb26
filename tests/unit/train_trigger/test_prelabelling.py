"""Runs that write predictions ahead: after a promotion, a rollback and an import, beside trainings, once each."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.evolve import evolve
from shared.state import claims, jobs_fields
from shared.state.base_weights import add_base_weights
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord, Prelabelled
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.state.versions import GRAPH, WEIGHTS, FileEntry, Manifest
from tests.fakes.stores import Clocked
from tests.fakes.trigger_parts import CONFIG, UID, World
from tests.samples.versions import manifest

OUTDATED = "are of another labeling config or other settings"


class Connected:
    """A project that is pushed, with four tasks, and a store whose clock stands still."""

    def __init__(self, folder: Path, *, connected: bool = True, **settings: Any) -> None:
        self.world = World(folder, **settings)
        self.clock = Clocked(self.world.store, self.world.store.now())
        self.trigger = self.world.another_trigger(self.clock)
        self.world.label_studio.tasks = [1, 2, 3, 4]
        add_base_weights(
            self.clock, "yolo11n.pt", "detect", ("person",), {WEIGHTS: Path(__file__), GRAPH: Path(__file__)}
        )
        write_project(self.clock, UID, label_config=CONFIG, push=connected)
        self.registry = Registry(self.clock, UID)
        self.jobs = Jobs(self.clock, UID, prelabelling=True)

    @property
    def claim(self) -> Claim | None:
        return Jobs(self.clock, UID).read().prelabel

    def reconcile(self, **how: bool) -> tuple[str, str]:
        outcome = self.trigger.reconcile(UID, **how)
        return outcome.status, outcome.reason

    def job_ends(self, version: str, *, left: int = 0, through: int | None = None, why: str = "") -> None:
        """What the job does, from its first act to its last."""
        assert self.claim is not None
        claim = self.jobs.update(claims.start, self.claim.run_id, nonce="n", lifetime=600).held
        last = max(self.world.label_studio.tasks) if through is None else through

        def end(record: JobsRecord, now: datetime) -> JobsRecord | None:
            released = claims.release(record, now, claim, outcome="prelabelled")
            tries = record.prelabelled.tries if record.prelabelled else 0
            done = Prelabelled(
                model_version=version,
                through=last,
                left=left,
                why={why: left} if why else {},
                tries=tries + 1 if left else 0,
                written_at=now,
                under=claim.under,
            )
            return released and evolve(released, prelabelled=done)

        self.jobs.update(end)

    def serve(self, run_id: str, expected: int | None, *, back_to: int = 0) -> None:
        """Promote a new version, or roll back."""

        def build(number: int) -> Manifest:
            graph = FileEntry(name=GRAPH, sha256="1" * 64, size=1)
            found = manifest(number, run_id)
            return evolve(found, files=(*found.files, graph))

        version = back_to or self.registry.publish("label", build).version
        self.registry.promote("label", version, fence=10_000, run_id=run_id, expected=expected)


@pytest.fixture
def connected(tmp_path: Path) -> Connected:
    return Connected(tmp_path)


def test_predictions_are_written_after_connecting_a_promotion_a_rollback_and_an_import(connected: Connected) -> None:
    assert connected.reconcile() == ("launched", "4 tasks without a prediction of label:base-yolo11n")
    assert connected.claim is not None
    assert connected.claim.kind == "prelabel"
    assert connected.reconcile()[0] == "active"
    connected.job_ends("label:base-yolo11n")
    nothing = ("nothing", "nothing is annotated yet")
    assert connected.reconcile() == nothing, "the job's own PATCH of the project comes back as an event"

    connected.serve("first", None)
    assert connected.reconcile() == ("launched", "4 tasks without a prediction of label:v1")
    connected.job_ends("label:v1")
    connected.serve("second", 1)
    assert connected.reconcile() == ("launched", "4 tasks without a prediction of label:v2")
    connected.job_ends("label:v2")
    connected.serve("back", 2, back_to=1)
    assert connected.reconcile() == ("launched", "4 tasks without a prediction of label:v1")
    connected.job_ends("label:v1")
    connected.world.label_studio.tasks += [5]
    assert connected.reconcile()[0] == "waiting"
    connected.world.label_studio.tasks += [6]
    connected.clock.time += timedelta(seconds=30)
    assert connected.reconcile() == ("launched", "2 tasks without a prediction of label:v1")
    connected.job_ends("label:v1")
    assert connected.reconcile() == nothing
    assert len(connected.world.launcher.launched) == 5


def test_many_tasks_are_shared_by_several_jobs_if_a_setting_says_so(tmp_path: Path) -> None:
    connected = Connected(tmp_path, prelabel_workers=4)
    connected.world.label_studio.tasks = list(range(1, 351))
    connected.reconcile()
    assert connected.claim is not None
    assert (connected.claim.workers, connected.world.launcher.requests[-1].workers) == (3, 3)
    connected.job_ends("label:base-yolo11n")
    connected.world.label_studio.tasks += [351]
    connected.clock.time += timedelta(seconds=30)
    connected.reconcile()
    assert connected.claim.workers == 1, "a handful needs no second machine"


def test_they_wait_neither_for_a_training_nor_for_its_cool_down(connected: Connected) -> None:
    connected.world.label_studio.annotations = 20
    assert connected.reconcile()[0] == "launched"
    record = Jobs(connected.clock, UID).read()
    assert record.training is not None
    assert (record.training.kind, record.prelabel is not None) == ("train", True)
    connected.job_ends("label:base-yolo11n")
    training = Jobs(connected.clock, UID)
    claim = training.update(claims.start, record.training.run_id, nonce="n", lifetime=600).held
    connected.serve(claim.run_id, None)
    training.update(claims.release, claim, outcome="promoted")
    assert connected.reconcile() == ("launched", "4 tasks without a prediction of label:v1")


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("nobody connected it", "the project is not connected: `labelloop connect`"),
        ("switched off", "LABELLOOP_PUSH=off"),
        ("dummy", "LABELLOOP_DUMMY"),
        ("no task", "every task has a prediction of label:base-yolo11n, or an annotation"),
        ("no base weights", "the models must be prepared by a run first"),
        ("closed", "Label Studio has this project no more"),
    ],
)
def test_no_such_run_is_started_and_who_asks_for_it_is_told_why(tmp_path: Path, why: str, told: str) -> None:
    switches: dict[str, dict[str, Any]] = {"switched off": {"push": "off"}, "dummy": {"dummy": True}}
    connected = Connected(tmp_path, connected=why != "nobody connected it", **switches.get(why, {}))
    if why == "no task":
        connected.world.label_studio.tasks = []
    if why == "no base weights":
        connected.clock.delete("base/yolo11n%2Ept/base.json")
    if why == "closed":
        connected.jobs.update(jobs_fields.close)
        connected.world.label_studio.created_at += timedelta(days=1)  # another project has its id now
    connected.reconcile()
    asked = connected.trigger.write_ahead(UID)
    assert (asked.status, told in asked.reason) == ("nothing", True), asked.reason
    assert connected.claim is None


def test_what_failed_and_what_was_left_is_tried_again_after_growing_pauses(connected: Connected) -> None:
    def minutes_until_launched() -> float:
        begin = connected.clock.time
        while connected.reconcile()[0] != "launched":
            connected.clock.time += timedelta(minutes=5)
        return (connected.clock.time - begin).total_seconds() / 60

    pauses = []
    for number in range(3):
        pauses.append(minutes_until_launched())
        assert connected.claim is not None
        claim = connected.jobs.update(claims.start, connected.claim.run_id, nonce=str(number), lifetime=600).held
        connected.jobs.update(claims.release, claim, outcome="failed", message="the token was refused")
    pauses.append(minutes_until_launched())
    assert pauses == [0, 10, 40, 160]
    connected.job_ends("label:base-yolo11n", left=1)
    pauses = [minutes_until_launched()]
    connected.job_ends("label:base-yolo11n", left=1)
    pauses.append(minutes_until_launched())
    assert pauses == [10, 40]


def test_what_was_left_while_the_store_s_clock_was_wrong_is_tried_again(connected: Connected) -> None:
    connected.reconcile()
    connected.clock.time += timedelta(days=400)
    connected.job_ends("label:base-yolo11n", left=1)
    connected.clock.time -= timedelta(days=400)
    assert connected.reconcile() == ("launched", "1 tasks were left without a prediction of label:base-yolo11n")


@pytest.mark.parametrize("reason", ["no_model", "no_class", "no_regions"])
def test_where_nothing_can_be_predicted_a_job_looks_again_only_if_that_may_have_changed(
    connected: Connected, reason: str
) -> None:
    """Base weights for another YOLO task, or without a class that means a label: so it stays for every task."""
    version = "label:base-yolo11n"

    def job_finds_nothing() -> None:
        connected.job_ends(version, left=4, why=reason)

    connected.reconcile()
    job_finds_nothing()
    for _ in range(5):
        connected.clock.time += timedelta(days=2)
        connected.world.label_studio.tasks += [max(connected.world.label_studio.tasks) + 1]
        assert connected.reconcile(sweeping=True)[0] == "nothing"
    assert len(connected.world.launcher.launched) == 1
    assert connected.trigger.write_ahead(UID).status == "launched", "a person may ask"
    job_finds_nothing()
    assert connected.reconcile()[0] == "nothing"

    config = CONFIG.replace('<Label value="Tree"', '<Label value="Tree" predicted_values="person"')
    assert config != CONFIG
    connected.world.label_studio.label_config = config
    tasks = len(connected.world.label_studio.tasks)
    assert connected.reconcile() == ("launched", f"{tasks} tasks, whose predictions of {version} {OUTDATED}")
    job_finds_nothing()
    connected.world.settings = evolve(connected.world.settings, base_weights="/other/yolo11n.pt")
    connected.trigger = connected.world.another_trigger(connected.clock)
    assert connected.reconcile()[0] == "launched", "another file of that name"
    job_finds_nothing()
    connected.serve("first", None)
    assert (
        connected.reconcile()[1] == f"{len(connected.world.label_studio.tasks)} tasks without a prediction of label:v1"
    )


def test_predictions_are_made_anew_after_a_change_that_does_not_change_the_version(connected: Connected) -> None:
    """Labels, their classes, thresholds: what is stored was made for what the labeling config and settings were."""
    connected.serve("first", None)
    connected.reconcile()
    connected.job_ends("label:v1")
    again = ("launched", f"4 tasks, whose predictions of label:v1 {OUTDATED}")
    for written, changed in (
        ('<Label value="Tree"', '<Label value="Oak"'),
        ('name="label" toName', 'name="label" model_score_threshold="0.7" toName'),
    ):
        config = connected.world.label_studio.label_config.replace(written, changed)
        assert config != connected.world.label_studio.label_config
        connected.world.label_studio.label_config = config
        assert connected.reconcile() == again
        connected.job_ends("label:v1")
        assert connected.reconcile()[0] == "nothing"
    of_no_answer = connected.world.label_studio.label_config.replace("<Label ", '<Label hotkey="t" background="red" ')
    connected.world.label_studio.label_config = of_no_answer.replace("<View>", "<View> <Header value='Trees'/>")
    assert connected.reconcile()[0] == "nothing"
    connected.world.settings = evolve(connected.world.settings, confidence=0.6)
    connected.trigger = connected.world.another_trigger(connected.clock)
    assert connected.reconcile() == again
    connected.job_ends("label:v1")
    done = connected.jobs.read().prelabelled
    assert done is not None
    connected.jobs.update(lambda record, _: evolve(record, prelabelled=evolve(done, under="")))
    assert connected.reconcile()[0] == "nothing", "an older labelloop did not note under what they were written"


def test_another_version_does_not_wait_for_the_pause_after_a_failure(connected: Connected) -> None:
    connected.reconcile()
    assert connected.claim is not None
    claim = connected.jobs.update(claims.start, connected.claim.run_id, nonce="n", lifetime=600).held
    connected.jobs.update(claims.release, claim, outcome="failed", message="no space is left")
    assert connected.reconcile()[0] == "waiting"
    connected.serve("first", None)
    assert connected.reconcile() == ("launched", "4 tasks without a prediction of label:v1")


def test_a_person_who_asks_waits_for_no_pause(connected: Connected) -> None:
    connected.reconcile()
    connected.job_ends("label:base-yolo11n")
    connected.world.label_studio.tasks += [5]
    assert connected.reconcile()[0] == "waiting", "others may follow"
    assert connected.trigger.write_ahead(UID).status == "launched"
    assert connected.claim is not None
    claim = connected.jobs.update(claims.start, connected.claim.run_id, nonce="n", lifetime=600).held
    connected.jobs.update(claims.release, claim, outcome="failed", message="the token was refused")
    assert connected.reconcile()[0] == "waiting"
    assert connected.trigger.write_ahead(UID).status == "launched"


def test_a_killed_job_is_followed_by_its_next_attempt(connected: Connected) -> None:
    connected.reconcile()
    assert connected.claim is not None
    connected.jobs.update(claims.start, connected.claim.run_id, nonce="n", lifetime=600)
    connected.world.launcher.state = "gone"
    connected.reconcile(sweeping=True)
    connected.clock.time += timedelta(minutes=15)
    assert connected.reconcile(sweeping=True)[0] == "relaunched"
    assert connected.claim is not None
    assert connected.claim.attempt == 2
    launched = connected.world.launcher.launched
    assert launched == [(connected.claim.run_id, 1), (connected.claim.run_id, 2)]


def test_a_control_that_is_added_in_label_studio_gets_its_base_weights_though_nobody_sends_a_setup(
    connected: Connected,
) -> None:
    connected.reconcile()
    connected.job_ends("label:base-yolo11n")
    polygons = '<PolygonLabels name="outline" toName="image"><Label value="Tree"/></PolygonLabels></View>'
    connected.world.label_studio.label_config = CONFIG.replace("</View>", polygons)
    assert connected.reconcile() == ("launched", "the base weights yolo11n-seg.pt must be made before predictions")


def test_base_weights_that_cannot_be_made_hold_back_only_their_control(connected: Connected) -> None:
    polygons = '<PolygonLabels name="outline" toName="image"><Label value="Tree"/></PolygonLabels></View>'
    connected.world.label_studio.label_config = CONFIG.replace("</View>", polygons)
    assert connected.reconcile()[0] == "launched"
    assert connected.claim is None, "a run makes them: all is written once that has ended"
    training = Jobs(connected.clock, UID)
    claim = training.update(claims.start, training.read().held.run_id, nonce="n", lifetime=600).held
    training.update(claims.release, claim, outcome="failed", message="there is no such file")
    assert connected.reconcile() == ("launched", "4 tasks without a prediction of label:base-yolo11n")
    connected.job_ends("label:base-yolo11n")
    assert connected.reconcile()[0] == "nothing"
    add_base_weights(
        connected.clock, "yolo11n-seg.pt", "segment", ("person",), {WEIGHTS: Path(__file__), GRAPH: Path(__file__)}
    )
    both = "label:base-yolo11n+outline:base-yolo11n-seg"
    assert connected.reconcile() == ("launched", f"4 tasks without a prediction of {both}"), "all tasks get both"


def test_a_labeling_config_that_is_not_understood_is_no_failure_of_the_trigger(connected: Connected) -> None:
    connected.world.label_studio.label_config = "<View>"
    assert connected.reconcile()[0] == "nothing"
    assert connected.claim is None


def test_the_job_is_told_which_base_weights_its_predictions_are_waited_for(tmp_path: Path) -> None:
    """With others of its own, each run would write another version, and the next one be due at once."""
    connected = Connected(tmp_path, base_weights="yolo11n.pt,yolo11n-seg.pt")
    connected.reconcile()
    request = connected.world.launcher.requests[-1]
    assert (request.kind, request.base_weights) == ("prelabel", "yolo11n.pt,yolo11n-seg.pt")


def test_a_project_that_goes_within_the_cool_down_after_a_training_is_closed(connected: Connected) -> None:
    connected.reconcile()
    connected.job_ends("label:base-yolo11n")
    training = Jobs(connected.clock, UID)
    training.update(claims.take, "training", lifetime=600, forced=True)
    claim = training.update(claims.start, "training", nonce="n", lifetime=600).held
    training.update(claims.release, claim, outcome="promoted")
    connected.world.label_studio.created_at += timedelta(days=1)  # another project has its id now
    assert [connected.reconcile()[0] for _ in range(2)] == ["closed", "nothing"]
    assert training.read().closed
