"""What waits for the budget, also if a person asks, and goes on when there is more."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.evolve import evolve
from shared.state import claims, keys
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from tests.fakes.stores import Clocked
from tests.fakes.trigger_parts import UID, World

OTHER = "2.1700000000"


def budgeted(folder: Path, **settings: Any) -> tuple[World, Clocked]:
    """A project whose first training is due, at half past noon."""
    world = World(folder, **settings)
    noon = world.store.now().replace(day=10, hour=12, minute=30)
    clock = Clocked(world.store, noon)
    world.jobs, world.trigger = Jobs(clock, UID), world.another_trigger(clock)
    world.label_studio.annotations = 20
    return world, clock


def run_for(world: World, clock: Clocked, minutes: int, uid: str = UID) -> None:
    """A job that ran so long, and ended long ago."""
    jobs = Jobs(clock, uid)
    jobs.update(claims.take, "earlier", lifetime=600)
    claim = jobs.update(claims.start, "earlier", nonce="n", lifetime=600).held
    clock.time += timedelta(minutes=minutes)
    jobs.update(claims.release, claim, outcome="prepared")
    clock.time += timedelta(hours=1)


def test_a_run_notes_the_price_that_was_set_when_it_began(tmp_path: Path) -> None:
    world, clock = budgeted(tmp_path, price_per_hour="0.80 EUR")
    assert world.reconcile().status == "launched"
    claim = world.job_runs()
    clock.time += timedelta(minutes=30)
    last = world.jobs.update(claims.release, claim, outcome="rejected").last_run
    assert last
    assert (last.price, str(last.cost)) == ("0.80 EUR", "0.40 EUR")


@pytest.mark.parametrize("forced", [False, True])
def test_a_training_waits_until_the_day_is_over(tmp_path: Path, forced: bool) -> None:
    world, clock = budgeted(tmp_path, budget_day=60)
    run_for(world, clock, 50)
    outcome = world.reconcile(forced=forced)
    assert outcome.status == "launched", "ten minutes are enough for a little training"
    claim = world.job_runs()
    clock.time += timedelta(minutes=10)
    world.jobs.update(claims.release, claim, outcome="failed")
    clock.time += timedelta(hours=2)
    tomorrow = (clock.time + timedelta(days=1)).date()
    for _ in range(2):
        outcome = world.reconcile(forced=forced)
        assert outcome.status == "waiting"
        assert outcome.reason == (
            "60 of the 60 minutes that the project's jobs may run in a day are used; "
            f"the next day begins at {tomorrow} 00:00 UTC"
        )
    clock.time += timedelta(hours=12)
    assert world.reconcile(forced=forced).status == "launched"
    assert len(world.launcher.launched) == 2
    assert world.launcher.requests[-1].budget.day == 60


def test_the_store_s_budget_counts_all_projects(tmp_path: Path) -> None:
    world, clock = budgeted(tmp_path, store_budget_day=60)
    run_for(world, clock, 58, OTHER)
    assert world.reconcile().reason.startswith("58 of the 60 minutes that the store's jobs may run in a day are used")
    Jobs(clock, OTHER).update(lambda record, _: evolve(record, used={}))
    assert world.reconcile().status == "waiting", "it is summed up once a minute"
    clock.time += timedelta(minutes=1)
    assert world.reconcile().status == "launched"


def test_a_project_whose_record_cannot_be_read_keeps_no_other_from_training(tmp_path: Path) -> None:
    world, _ = budgeted(tmp_path, store_budget_month=60)
    world.store.put(keys.jobs(OTHER), b"of a newer labelloop")
    assert world.reconcile().status == "launched"


def test_the_next_attempt_of_a_run_waits_too(tmp_path: Path) -> None:
    world, clock = budgeted(tmp_path, budget_day=60)
    world.reconcile()
    claim = world.job_runs()
    clock.time += timedelta(minutes=58)
    world.jobs.update(claims.interrupt, claim, "too little time is left to train", preempted=True)
    world.launcher.state = "failed"
    clock.time += timedelta(hours=1)
    for how in ({}, {"sweeping": True}, {"forced": True}):
        assert world.reconcile(**how).status == "waiting"
    clock.time += timedelta(hours=12)
    assert world.reconcile().status == "relaunched"


def test_without_a_budget_time_is_counted_all_the_same(tmp_path: Path) -> None:
    world, clock = budgeted(tmp_path)
    run_for(world, clock, 5000)
    assert world.reconcile().status == "launched"
    record: JobsRecord = world.jobs.read()
    assert sum(record.used.values()) == 5000 * 60
