"""What the trigger does about a run that is active: on a real store, with a launcher that keeps evidence."""

from datetime import timedelta

import pytest

from functions.train_trigger.launchers import JobState
from functions.train_trigger.reconciled import Reconciled
from shared.errors import ClaimLost, LaunchError
from shared.state import claims, keys, launches
from shared.state.jobs import Jobs
from shared.state.runs import TrainRequest
from tests.fakes.stores import Clocked
from tests.fakes.trigger_parts import UID, World


@pytest.mark.parametrize("state", ["failed", "gone"])
def test_the_sweep_relaunches_a_killed_job_at_once(world: World, state: JobState) -> None:
    first = world.reconcile()
    fence = world.job_runs().fence
    world.expire(ago=-590)  # renewed ten seconds ago
    world.launcher.state = state
    assert world.reconcile().status == "active"  # an event asks no launcher
    assert world.reconcile(sweeping=True).status == "relaunched"
    assert world.launcher.launched == [(first.run_id, 1), (first.run_id, 2)]
    assert world.claim.fence > fence


def test_an_interrupted_job_is_relaunched_after_its_pause(world: World) -> None:
    world.reconcile()
    world.jobs.update(claims.interrupt, world.job_runs(), "SIGTERM")
    world.launcher.state = "failed"
    assert world.reconcile(sweeping=True).status == "waiting"
    world.expire(ago=6)
    assert world.reconcile(sweeping=True).status == "relaunched"
    assert world.claim.error == "SIGTERM"


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_claim_that_expired_while_the_launcher_knows_the_job_is_extended(world: World, state: JobState) -> None:
    world.reconcile()
    world.launcher.state = state
    world.expire()
    assert world.reconcile().status == "active"
    assert world.claim.expires_at > world.store.now()
    assert len(world.launcher.launched) == 1


def test_a_trigger_that_died_before_the_launch_is_made_up_for(world: World) -> None:
    world.jobs.update(claims.take, "run", lifetime=0)
    world.expire()
    outcome = world.reconcile(sweeping=True)
    assert outcome.status == "relaunched"
    assert world.jobs.runs.request(str(outcome.run_id)).project_uid == UID


def test_a_hanging_job_is_stopped_and_given_up(world: World) -> None:
    world.reconcile()
    world.job_runs()
    world.change_claim(started_at=world.store.now() - timedelta(hours=9))
    world.expire()
    assert world.reconcile(sweeping=True).status == "given_up"
    assert world.launcher.stopped == ["fake:1"]


def test_a_job_that_waited_for_hours_has_not_run_for_hours(world: World) -> None:
    world.reconcile()
    world.change_claim(started_at=world.store.now() - timedelta(hours=9))
    for state in ("queued", "running"):  # running: its container starts, it has not taken its claim yet
        world.expire()
        world.launcher.state = state
        assert world.reconcile(sweeping=True).status == "active"


def _fail_until_given_up(world: World) -> None:
    """Each attempt fails, and the sweep looks an hour later."""
    world.launcher.state = "failed"
    outcomes = []
    for _ in range(3):
        world.expire(ago=3600)
        outcomes.append(world.reconcile(sweeping=True).status)
    assert outcomes == ["relaunched", "relaunched", "given_up"]


def test_attempts_are_limited_and_a_failed_run_uses_up_nothing(world: World) -> None:
    world.reconcile()
    _fail_until_given_up(world)
    record = world.jobs.read()
    assert record.training is None
    assert record.last_run is not None
    assert (record.last_run.outcome, record.last_run.failures, record.baseline) == ("failed", 1, None)
    progress = world.jobs.runs.progress(record.last_run.run_id)
    assert progress is not None
    assert progress.phase == "failed"
    assert world.reconcile(sweeping=True).status == "waiting"  # no spinning
    later = Clocked(world.store, world.store.now() + timedelta(minutes=11))
    assert world.another_trigger(later).reconcile(UID).status == "launched", "its annotations are due after the repair"


def test_a_progress_that_is_no_record_holds_up_no_end(world: World) -> None:
    world.reconcile()
    world.store.put(keys.run(UID, world.claim.run_id, "progress.json"), b'{"phase": "tr')
    _fail_until_given_up(world)
    assert world.reconcile(sweeping=True).status == "waiting"


def test_a_refused_launch_is_shown_and_tried_again(world: World) -> None:
    world.launcher.error = LaunchError("no such queue: gpu")
    outcome = world.reconcile()
    assert (outcome.status, outcome.reason) == ("refused", "no such queue: gpu")
    assert world.claim.error == "no such queue: gpu"
    progress = world.jobs.runs.progress(world.claim.run_id)
    assert progress is not None
    assert progress.error == "no such queue: gpu"
    assert world.reconcile(sweeping=True).status == "waiting"
    world.launcher.error = None
    world.expire(ago=6)
    assert world.reconcile(sweeping=True).status == "launched"
    assert world.launcher.launched == [(outcome.run_id, 1)], "the same attempt, so that the target knows it by its name"
    assert (world.claim.state, world.claim.refused, world.claim.error) == ("queued", 1, None)


def test_a_job_that_waits_for_a_correction_is_launched_anew_and_the_reason_stands_in_its_claim(world: World) -> None:
    clock = Clocked(world.store, world.store.now())
    trigger = world.another_trigger(clock)
    run_id = trigger.reconcile(UID).run_id
    launcher = world.launcher
    launcher.state, launcher.why, launcher.stuck = "queued", "ImagePullBackOff: no such image", True
    statuses = []
    for _ in range(14):
        clock.time += timedelta(minutes=1)
        statuses.append(trigger.reconcile(UID, sweeping=True).status)
        if launcher.stopped:
            break
        assert (world.claim.state, world.claim.waits) == ("queued", launcher.why)
        assert world.claim.stuck_since is not None
    assert statuses == ["active"] * 10 + ["refused"], "ten minutes after it was first seen"
    assert launcher.stopped == ["fake:1"]
    assert (world.claim.state, world.claim.error, world.claim.attempt) == ("launching", launcher.why, 1)
    assert (world.claim.job, world.claim.waits, world.claim.stuck_since) == (None, None, None)
    launcher.why, launcher.stuck = "", False
    clock.time += timedelta(seconds=6)
    assert trigger.reconcile(UID, sweeping=True).status == "launched"
    assert launcher.launched == [(run_id, 1), (run_id, 1)], "no attempt of the run is used up"


def test_a_job_that_waits_for_capacity_waits_for_ever_and_says_for_what(world: World) -> None:
    clock = Clocked(world.store, world.store.now())
    trigger = world.another_trigger(clock)
    trigger.reconcile(UID)
    world.launcher.state, world.launcher.why = "queued", "3 Insufficient nvidia.com/gpu"
    for _ in range(30):
        clock.time += timedelta(hours=1)
        assert trigger.reconcile(UID, sweeping=True).status == "active"
        assert (world.claim.waits, world.claim.stuck_since) == ("3 Insufficient nvidia.com/gpu", None)
    claim = Jobs(clock, UID).update(claims.start, world.claim.run_id, nonce="n", lifetime=600).held
    assert (claim.waits, claim.attempt, world.launcher.stopped) == (None, 1, [])


def test_a_job_that_its_target_refused_before_it_began_uses_up_no_attempt_and_pauses_grow(world: World) -> None:
    clock = Clocked(world.store, world.store.now())
    trigger = world.another_trigger(clock)
    trigger.reconcile(UID)
    world.launcher.state, world.launcher.why = "refused", "CannotPullContainerError: not found"
    launches = []
    for second in range(0, 1800, 10):
        clock.time += timedelta(seconds=10)
        if trigger.reconcile(UID, sweeping=True).status == "launched":
            launches.append(second)
    assert (world.claim.attempt, world.claim.error) == (1, world.launcher.why)
    assert 4 <= len(launches) <= 8, launches
    assert clock.time - world.claim.expires_at < timedelta(minutes=10)


def test_a_sweep_lets_the_launcher_tidy_up_and_goes_on_if_it_cannot(world: World) -> None:
    world.trigger.tidy()
    assert world.launcher.tidied == 1
    world.launcher.tidy = lambda: (_ for _ in ()).throw(LaunchError("no network"))  # type: ignore[method-assign]
    world.trigger.tidy()


def test_a_person_who_presses_start_training_does_not_wait_for_the_next_try(world: World) -> None:
    world.launcher.error = LaunchError("no such queue: gpu")
    run_id = world.reconcile().run_id
    assert world.reconcile(forced=True).status == "refused"
    assert world.claim.refused == 2
    world.launcher.error = None
    assert world.reconcile(forced=True) == Reconciled("launched", "no such queue: gpu", run_id)


def test_a_refused_launch_that_started_a_job_nevertheless_keeps_it(world: World) -> None:
    def launch(request: TrainRequest, *, attempt: int) -> str:
        world.job_runs()
        raise LaunchError("the answer was lost")

    world.launcher.launch = launch  # type: ignore[method-assign]
    assert world.reconcile().status == "active"
    assert (world.claim.state, world.claim.error) == ("running", None)


def test_refusals_use_up_no_attempt_and_lose_no_checkpoint(world: World) -> None:
    first = world.reconcile()
    claim = world.job_runs()
    world.keeps_an_epoch(claim)
    world.launcher.state, world.launcher.error = "failed", LaunchError("quota")
    for _ in range(2 * world.settings.attempts):
        world.expire(ago=3600)
        assert world.reconcile(sweeping=True).status == "refused"
    assert (world.claim.run_id, world.claim.attempt) == (first.run_id, 2)
    world.launcher.error = None
    world.expire(ago=3600)
    assert world.reconcile(sweeping=True).status == "relaunched"
    assert world.launcher.launched == [(first.run_id, 1), (first.run_id, 2)]
    assert world.jobs.runs.kept_an_epoch(claim.run_id, 1)


def test_two_triggers_try_a_refused_launch_again_once(world: World) -> None:
    world.launcher.error = LaunchError("quota")
    world.reconcile()
    world.expire(ago=6)
    world.launcher.error = None
    decided_on = world.claim
    assert world.another_trigger().reconcile(UID).status == "launched"
    with pytest.raises(ClaimLost):
        world.jobs.update(launches.retry_launch, decided_on, lifetime=120)


@pytest.mark.parametrize("state", ["failed", "gone"])
def test_a_machine_taken_without_notice_is_no_failure_while_the_run_gets_further(world: World, state: JobState) -> None:
    world.reconcile()
    for _ in range(3 * world.settings.attempts):
        world.keeps_an_epoch(world.job_runs())
        world.launcher.state = state
        world.change_claim(expires_at=world.store.now() + timedelta(seconds=540))  # renewed a minute ago
        assert world.reconcile(sweeping=True).status == "relaunched"
    assert world.claim.preempted == 3 * world.settings.attempts
    for expected in ("relaunched", "relaunched", "given_up"):  # it gets no further: a defect, or too small a machine
        world.job_runs()
        world.expire(ago=3600)
        assert world.reconcile(sweeping=True).status == expected


def test_a_job_that_its_target_put_back_into_the_queue_is_the_next_attempt(world: World) -> None:
    world.reconcile()
    first = world.job_runs()
    world.keeps_an_epoch(first)
    world.jobs.update(claims.interrupt, first, "the machine asked the job to stop (SIGTERM)", preempted=True)
    world.launcher.state = "queued"
    assert world.reconcile(sweeping=True).status == "active"
    assert world.launcher.launched == [(first.run_id, 1)], "its job waits already"
    assert (world.claim.state, world.claim.attempt, world.claim.job) == ("queued", 2, "fake:1")
    again = world.job_runs(nonce="the pod that starts later")
    assert again.fence > first.fence


def test_where_the_log_is_stands_in_the_claim(world: World) -> None:
    world.reconcile()
    assert world.claim.logs == "log of fake:1"
    world.launcher.state = "failed"
    world.launcher.error = LaunchError("quota")
    world.expire(ago=3600)
    world.reconcile(sweeping=True)
    assert world.claim.logs is None, "the attempt that is refused has none"
