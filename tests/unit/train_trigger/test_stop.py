"""A run that somebody stops: it ends at once, nothing comes of it, and the next one does not begin at once."""

from datetime import datetime, timedelta

import pytest

from functions.train_trigger.decide import Nothing, decide_to_prelabel, decide_to_prepare
from shared.errors import ClaimLost, LabelStudioError, LaunchError
from shared.evolve import evolve
from shared.state import claims, jobs_fields
from shared.state.jobs_record import PRELABEL, JobsRecord, LastRun
from shared.state.servable import Lack
from tests.fakes.trigger_parts import UID, FakeLauncher, World

BY = "by somebody, in a test"


def last(world: World) -> LastRun:
    ended = world.jobs.read().last_run
    assert ended is not None
    return ended


def read_all(record: JobsRecord, _now: datetime) -> JobsRecord:
    """The last run has read everything."""
    assert record.baseline is not None
    return evolve(record, baseline=evolve(record.baseline, digest="d"))


class Unstoppable(FakeLauncher):
    """May not stop jobs."""

    def stop(self, job: str) -> None:
        raise LaunchError(f"no right to stop {job}")


@pytest.mark.parametrize("runs", [True, False], ids=["running", "queued"])
def test_it_ends_and_the_next_one_waits_for_as_many_changes_as_after_any_run(world: World, runs: bool) -> None:
    world.reconcile()
    claim = world.job_runs() if runs else world.claim

    outcome = world.trigger.stop(UID, BY)

    assert (outcome.status, outcome.run_id) == ("stopped", claim.run_id)
    assert (last(world).outcome, last(world).message, last(world).failures) == ("stopped", BY, 0)
    assert world.launcher.stopped == [claim.job]
    progress = world.jobs.runs.progress(claim.run_id)
    assert progress is not None
    assert progress.phase == "stopped"
    assert (world.trigger.stop(UID, BY).status, len(world.launcher.stopped)) == ("nothing", 1)
    for _ in range(2):
        assert world.reconcile(sweeping=True).status == "nothing"
    world.label_studio.annotations = 40  # it has doubled
    assert world.reconcile(sweeping=True).status == "launched"


def test_the_job_finds_its_claim_gone_and_is_told_why(world: World) -> None:
    world.reconcile()
    claim = world.job_runs()
    world.trigger.stop(UID, BY)
    for change, more in (
        (claims.renew, {"lifetime": 60, "longest_run": 60}),
        (claims.release, {"outcome": "promoted"}),
    ):
        with pytest.raises(ClaimLost, match=f"run {claim.run_id} was stopped {BY}"):
            world.jobs.update(change, claim, **more)  # type: ignore[arg-type]
    with pytest.raises(ClaimLost):
        world.jobs.update(claims.interrupt, claim, "SIGTERM")
    with pytest.raises(ClaimLost):
        world.jobs.update(claims.start, claim.run_id, nonce="another", lifetime=60)


def test_what_was_due_is_learnt_from_by_the_next_one(world: World) -> None:
    """The digest stays that of the run that read everything last, so the next run does not end as unchanged."""
    world.reconcile()
    world.job_ends(world.job_runs())
    world.jobs.update(read_all)
    world.label_studio.annotations = 40
    world.reconcile()
    world.trigger.stop(UID, BY)
    baseline = world.jobs.read().baseline
    assert baseline is not None
    assert (baseline.digest, baseline.totals.total_annotations_number) == ("d", 40)
    assert world.trigger.train(UID).status == "launched", "a person may at once"


def test_nothing_is_used_up_if_label_studio_cannot_be_asked(world: World) -> None:
    world.reconcile()
    world.job_runs()
    world.label_studio.error = LabelStudioError("it is away")
    outcome = world.trigger.stop(UID, BY)
    assert (outcome.status, "it is away" in outcome.reason) == ("stopped", True)
    assert world.jobs.read().baseline is None


def test_a_launcher_that_cannot_stop_the_job_is_named(world: World) -> None:
    world.reconcile()
    world.job_runs()

    outcome = world.another_trigger(launcher=Unstoppable()).stop(UID, BY)
    assert outcome.status == "stopped"
    assert "could not be stopped (no right to stop fake:1)" in outcome.reason


def test_a_training_that_was_asked_for_does_not_follow_a_run_that_is_stopped(world: World) -> None:
    record = claims.take(JobsRecord(), world.store.now(), "base-1", kind="base", lifetime=60)
    assert record is not None
    record = evolve(record, next_run="train-1")
    stopped = claims.stop(record, world.store.now(), "base-1", BY)
    assert stopped is not None
    assert (stopped.training, stopped.next_run) == (None, None)
    lacks, now = [Lack("label", "yolo11n.pt")], world.store.now()
    assert decide_to_prepare(stopped, lacks, now) is None
    assert decide_to_prepare(stopped, lacks, now + timedelta(minutes=11)) is not None
    assert claims.stop(stopped, now, "base-1", BY) is None, "our own write, whose answer was lost"
    with pytest.raises(ClaimLost, match="has ended"):
        claims.stop(stopped, now, "train-1", BY)


def test_predictions_go_on_with_another_version_or_when_a_person_asks(world: World) -> None:
    now = world.store.now()
    record = claims.take(JobsRecord(), now, "ahead-1", kind=PRELABEL, model_version="label:v1", lifetime=60)
    assert record is not None
    stopped = claims.stop(evolve(record, next_run="train-1"), now, "ahead-1", BY)
    assert stopped is not None
    assert stopped.next_run == "train-1", "that is another run"

    def due(record: JobsRecord, version: str) -> bool:
        decision = decide_to_prelabel(
            record, version, 4, now + timedelta(days=1), pause=timedelta(seconds=30), under="digest"
        )
        return not isinstance(decision, Nothing)

    assert (due(stopped, "label:v1"), due(stopped, "label:v2")) == (False, True)
    again = jobs_fields.go_on(stopped, now)
    assert again is not None
    assert due(again, "label:v1")
    assert jobs_fields.go_on(again, now) is None
