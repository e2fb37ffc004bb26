"""Reconciling a project, on a real store in a folder, with a fake Label Studio and a launcher that keeps evidence."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.sweep import sweep
from functions.train_trigger.threads import ProcessThreads
from shared.errors import LabelStudioError, ProjectGone, StoreError
from shared.labelstudio.api import ProjectState
from shared.objectstore.file import FileStore
from shared.state import claims, jobs_fields, keys
from shared.state.effort import CountedEffort, VersionEffort, write_effort
from shared.state.jobs import Jobs
from shared.state.projects import Project, read_project, write_project
from shared.state.registry import Registry
from shared.state.versions import Gate, Manifest
from tests.fakes.stores import Clocked
from tests.fakes.trigger_parts import CONFIG, CREATED, UID, World


def test_the_first_training_is_claimed_requested_launched_and_recorded(world: World) -> None:
    outcome = world.reconcile()
    assert outcome.status == "launched"
    assert world.launcher.launched == [(outcome.run_id, 1)]
    assert (world.claim.state, world.claim.job) == ("queued", "fake:1")
    request = world.jobs.runs.request(str(outcome.run_id))
    assert (request.project_uid, request.project_id, request.reason) == (UID, 1, outcome.reason)
    assert request.settings["epochs"] == world.settings.epochs


def test_too_few_annotations_start_nothing_and_store_nothing(world: World) -> None:
    world.label_studio.annotations = 4
    assert world.reconcile().status == "nothing"
    assert list(world.store.list("projects/")) == []


@pytest.mark.parametrize(
    "label_config",
    [
        "<View></View>",
        '<View><Text name="t" value="$t"/><Labels name="l" toName="t"><Label value="a"/></Labels></View>',
        '<View><Image name="i" value="$i"/><PolygonLabels name="l" toName="i"/></View>',
        '<View><Repeater on="$pages" indexFlag="{{idx}}"><Image name="page_{{idx}}" value="$pages[{{idx}}].image"/>'
        '<RectangleLabels name="labels_{{idx}}" toName="page_{{idx}}"><Label value="a"/></RectangleLabels></Repeater>'
        "</View>",
        "<View>",
    ],
    ids=["empty", "no image", "no labels", "Repeater", "broken"],
)
@pytest.mark.parametrize("forced", [False, True])
def test_a_config_that_nothing_can_be_learnt_under_starts_nothing(
    world: World, label_config: str, forced: bool
) -> None:
    world.label_studio.label_config = label_config
    outcome = world.reconcile(forced=forced)
    assert outcome.status == "nothing"
    assert "labeling config" in outcome.reason
    assert (list(world.store.list("projects/")), world.launcher.launched) == ([], [])


def test_while_a_run_is_active_nobody_asks_label_studio(world: World) -> None:
    launched = world.reconcile()
    asked = world.label_studio.asked
    assert world.reconcile() == Reconciled("active", f"run {launched.run_id} is active", launched.run_id)
    assert world.reconcile(forced=True).run_id == launched.run_id
    assert (world.label_studio.asked, len(world.launcher.launched)) == (asked, 1)


def test_a_finished_run_is_followed_by_one_after_enough_changes(tmp_path: Path) -> None:
    world = World(tmp_path, cool_down=0)
    world.label_studio.annotations = 20
    world.reconcile()
    world.job_ends(world.job_runs())
    assert world.reconcile().status == "nothing"
    world.label_studio.changed = 20  # updated, or deleted and made anew: no counter moved
    assert world.reconcile().status == "launched"
    assert [attempt for _, attempt in world.launcher.launched] == [1, 1]


def test_a_run_that_found_the_same_digest_does_not_loop(tmp_path: Path) -> None:
    world = World(tmp_path, cool_down=0)
    world.label_studio.annotations, world.label_studio.changed = 20, 20
    world.reconcile()
    world.job_ends(world.job_runs(), "unchanged")
    world.label_studio.changed = 0  # nothing was updated after the new baseline was read
    assert world.reconcile().status == "nothing"


def test_the_project_s_own_overrides_decide_and_reach_the_job(world: World) -> None:
    write_project(world.store, UID, label_config="<View/>", overrides={"min_annotations": 2, "epochs": 7})
    world.label_studio.annotations = 2
    outcome = world.reconcile()
    assert outcome.status == "launched"
    assert world.jobs.runs.request(str(outcome.run_id)).settings["epochs"] == 7


def manifest(version: int, **fields: Any) -> Manifest:
    gate = Gate(metric="mAP50-95", challenger=0.5, champion=None, champion_version=None, passed=True, reason="first")
    said: dict[str, Any] = {
        "version": version, "control": "label", "yolo_task": "detect", "labels": ("Tree",), "files": (), "metrics": {},
        "gate": gate, "lineage": {}, "run_id": "old", "fence": 41, "created_at": CREATED,
    }  # fmt: skip
    return Manifest(**said | fields)


def test_metrics_tell_what_annotators_made_of_predictions_once_a_run_has_read_it(world: World) -> None:
    said = {"version": "v1", "annotations": 3, "kept": 12, "changed": 4, "drawn": 2, "smart": 1}

    def end(**fields: Any) -> list[str]:
        world.reconcile(forced=True)
        run_id = world.claim.run_id
        Registry(world.store, UID).publish("label", lambda version: manifest(version, run_id=run_id, **fields))
        world.job_ends(world.job_runs(), "rejected")
        world.reconcile(sweeping=True)
        lines = world.metrics.text().decode().splitlines()
        return [line.partition("{")[2] for line in lines if line.startswith("labelloop_annotated_objects{")]

    assert end() == [], "a version of a labelloop that did not tell"
    assert end(lineage={"taken_up": said}) == [
        f'became="{became}",control="label",project="{UID}"}} {said[became]}.0'
        for became in ("kept", "changed", "drawn", "smart")
    ]
    assert end(lineage={"taken_up": said | {"drawn": 9}})[2].endswith(" 9.0")
    assert end(lineage={"taken_up": {"kept": "many"}})[2].endswith(" 9.0"), "what is no number is not told"
    assert world.reconcile(sweeping=True).status != "failed"


def test_metrics_tell_what_predictions_saved_once_somebody_has_counted_it(world: World) -> None:
    clock = Clocked(world.store, world.store.now())
    trigger = world.another_trigger(clock)

    def told(*saved: tuple[str, float | None]) -> list[str]:
        counts: Any = {"images": 4, "kept": 1, "moved": 1, "relabelled": 1, "deleted": 1, "added": 1, "final": 4}
        versions = tuple(VersionEffort(control="label", version=name, saved=part, **counts) for name, part in saved)
        if versions:
            counted = CountedEffort(counted_at=CREATED, tasks=4, saved=0.1, versions=versions)
            write_effort(world.store, UID, counted)
        clock.time += timedelta(minutes=10)
        trigger.reconcile(UID, sweeping=True)
        lines = world.metrics.text().decode().splitlines()
        return [line.partition("{")[2] for line in lines if line.startswith("labelloop_saved_")]

    assert told() == []
    first = told(("v9", 0.2), ("v10", None), ("somebody", 0.9), ("", 0.0))
    assert first[0] == f'control="label",project="{UID}",version="v9"}} 0.2'
    newest = told(("v9", 0.2), ("v10", -0.25))
    assert newest == [f'control="label",project="{UID}",version="v10"}} -0.25', first[1]], "one line a control"
    assert float(first[1].rpartition(" ")[2]) == CREATED.timestamp()
    world.store.put(keys.effort(UID), b"{}")
    assert told() == newest, "what is no record stops nothing"
    assert trigger.reconcile(UID, sweeping=True).status != "failed"


def test_a_record_of_a_version_that_is_none_does_not_stop_sweeps(world: World) -> None:
    world.reconcile(forced=True)
    world.job_ends(world.job_runs(), "rejected")
    world.store.put(keys.manifest(UID, "label", 1), b"{}")
    assert world.reconcile(sweeping=True).status != "failed"


def test_the_fence_is_greater_than_every_pointer_s(world: World) -> None:
    registry = Registry(world.store, UID)
    registry.publish("label", manifest)
    registry.promote("label", 1, fence=41, run_id="old", expected=None)
    world.reconcile()
    assert world.claim.fence > 41


def test_failed_runs_come_again_with_growing_pauses_and_never_more_than_daily(world: World) -> None:
    clock = Clocked(world.store, world.store.now())
    trigger, jobs = world.another_trigger(clock), Jobs(clock, UID)
    failed_at, pauses = clock.time, []
    for number in range(7):
        while trigger.reconcile(UID).status == "waiting":
            clock.time += timedelta(minutes=5)
        pauses.append(clock.time - failed_at)
        claim = jobs.update(claims.start, world.claim.run_id, nonce=str(number), lifetime=600).held
        jobs.update(claims.release, claim, outcome="failed", message="the weights cannot be had")
        failed_at = clock.time
    assert [pause.total_seconds() / 60 for pause in pauses] == [0, 10, 40, 160, 640, 24 * 60, 24 * 60]
    assert trigger.reconcile(UID, forced=True).status == "launched", "a person does not wait"
    jobs.update(
        claims.release,
        jobs.update(claims.start, world.claim.run_id, nonce="last", lifetime=600).held,
        outcome="nothing_to_learn",
    )
    assert jobs.read().last_run.failures == 0  # type: ignore[union-attr]


def test_what_a_failed_run_was_started_for_is_due_after_the_repair(tmp_path: Path) -> None:
    world = World(tmp_path, cool_down=0)
    clock = Clocked(world.store, world.store.now())
    world.label_studio.annotations = 20
    world.reconcile()
    world.job_ends(world.job_runs())
    world.label_studio.annotations = 40
    assert world.reconcile().reason == "20 changes since the last run"
    world.job_ends(world.job_runs(), "failed")
    clock.time += timedelta(minutes=11)
    assert world.another_trigger(clock).reconcile(UID).reason == "20 changes since the last run"


def test_two_triggers_that_decide_at_once_launch_once(world: World) -> None:
    other = world.another_trigger()
    original = world.label_studio.project

    def meanwhile(project_id: int) -> ProjectState:
        world.label_studio.project = original  # type: ignore[method-assign]
        assert other.reconcile(UID).status == "launched"
        return original(project_id)

    world.label_studio.project = meanwhile  # type: ignore[method-assign]
    assert world.reconcile().status == "active"
    assert len(world.launcher.launched) == 1


def test_a_decision_on_an_old_record_is_not_carried_out(world: World) -> None:
    """Another trigger launched and its run ended between our reading and our claim."""
    original = world.label_studio.project

    def meanwhile(project_id: int) -> ProjectState:
        world.label_studio.project = original  # type: ignore[method-assign]
        assert world.another_trigger().reconcile(UID).status == "launched"
        world.job_ends(world.job_runs())
        return original(project_id)

    world.label_studio.project = meanwhile  # type: ignore[method-assign]
    assert world.reconcile().status == "nothing"
    assert len(world.launcher.launched) == 1


def test_a_project_that_is_gone_is_closed_and_stays_so_while_it_is_gone(world: World) -> None:
    write_project(world.store, UID, label_config="<View/>")
    world.label_studio.error = ProjectGone("404")
    assert world.reconcile().status == "closed"
    assert world.jobs.read().closed
    assert world.reconcile(sweeping=True).status == "nothing"
    assert world.jobs.read().closed


@pytest.mark.parametrize(
    "away",
    [ProjectGone("404"), "another installation"],
    ids=["its database was restored from before the project", "LABEL_STUDIO_URL named another one"],
)
def test_the_sweep_opens_a_project_again_that_is_back(world: World, away: Any) -> None:
    """Without an event: nobody annotates where predictions have stopped."""
    write_project(world.store, UID, label_config="<View/>")
    world.label_studio.annotations = 20
    if isinstance(away, Exception):
        world.label_studio.error = away
    else:
        world.label_studio.created_at = CREATED.replace(year=2020)
    sweep(world.store, world.trigger.reconcile, ProcessThreads(), seconds=60)
    assert world.jobs.read().closed
    sweep(world.store, world.trigger.reconcile, ProcessThreads(), seconds=60)
    assert world.jobs.read().closed
    world.label_studio.error, world.label_studio.created_at = None, CREATED
    summary = sweep(world.store, world.trigger.reconcile, ProcessThreads(), seconds=60)
    assert summary["outcomes"] == {"launched": 1}
    assert not world.jobs.read().closed


def test_an_event_of_a_closed_project_opens_it_again_if_it_is_there(world: World) -> None:
    world.jobs.update(jobs_fields.close)
    assert world.reconcile().status == "launched"
    assert not world.jobs.read().closed


def test_a_project_of_another_installation_is_closed(world: World) -> None:
    outcome = world.trigger.reconcile("1.1600000000")
    assert outcome.status == "closed"
    assert "LABEL_STUDIO_URL" in outcome.reason
    assert list(world.store.list("projects/")) == [], "whoever sends events cannot fill the store"


def test_an_unreachable_label_studio_fails_this_time_only(world: World) -> None:
    world.label_studio.error = LabelStudioError("no route to host")
    assert world.reconcile() == Reconciled("failed", "no route to host")
    assert not world.jobs.read().closed


def test_the_return_of_label_studio_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.label_studio.error = LabelStudioError("no route to host")
    for _ in range(2):
        world.reconcile()
    world.label_studio.error, world.label_studio.annotations = None, 1
    for _ in range(2):
        world.reconcile()
    said = [record.message for record in caplog.records if record.__dict__.get("event") == "label_studio_back"]
    assert said == ["Label Studio answers again"]


def test_an_unsafe_store_is_refused_before_the_first_claim(tmp_path: Path) -> None:
    class Careless(FileStore):
        def replace(self, key: str, data: bytes, token: Any) -> Any:
            return self.put(key, data)

        def create(self, key: str, data: bytes) -> Any:
            return self.put(key, data)

    world = World(tmp_path)
    world.store = Careless(world.store.url)
    world.label_studio.annotations = 20
    outcome = world.another_trigger().reconcile(UID)
    assert outcome.status == "failed"
    assert "must not be used" in outcome.reason
    assert world.launcher.launched == []


def test_the_sweep_goes_on_after_a_failure_and_says_what_it_did(world: World) -> None:
    for uid in ("7.1", UID, "9.1"):
        write_project(world.store, uid, label_config="<View/>")
    world.label_studio.broken = {7}
    summary = sweep(world.store, world.trigger.reconcile, ProcessThreads(), seconds=60)
    assert summary["projects"] == 3
    assert summary["not_reached"] == 0
    assert summary["outcomes"] == {"failed": 1, "launched": 1, "closed": 1}
    assert summary["details"]["7.1"]["reason"] == "broken"


def test_a_sweep_out_of_time_begins_no_project(world: World) -> None:
    write_project(world.store, UID, label_config="<View/>")
    assert sweep(world.store, world.trigger.reconcile, ProcessThreads(), seconds=0)["not_reached"] == 1
    assert world.label_studio.asked == 0


def test_a_failing_store_is_an_outcome_not_a_crash(world: World) -> None:
    class Failing(FileStore):
        def get(self, key: str, if_changed_from: Any = None) -> Any:
            raise StoreError("disk on fire")

    world.store = Failing(world.store.url)
    assert world.another_trigger().reconcile(UID) == Reconciled("failed", "disk on fire")


def test_a_project_that_is_disconnected_is_left_alone_until_a_person_asks(world: World) -> None:
    write_project(world.store, UID, label_config=CONFIG, connection="none")
    assert world.reconcile(sweeping=True).reason == "the project is disconnected"
    assert world.label_studio.asked == 0
    assert world.reconcile(forced=True).status == "launched"


def test_a_labeling_config_that_was_changed_is_kept_though_no_setup_tells_it(world: World) -> None:
    def kept() -> str:
        project = read_project(world.store, UID)
        assert project is not None
        return project.label_config

    world.label_studio.annotations = 0
    write_project(world.store, UID, label_config="<View/>", title="Trees", overrides={"epochs": 7})
    world.reconcile(sweeping=True)
    assert read_project(world.store, UID) == Project(label_config=CONFIG, title="Trees", overrides={"epochs": 7})
    world.label_studio.label_config = "<View>"
    world.reconcile(sweeping=True)
    assert kept() == CONFIG, "a setup would refuse that one, too"
