"""The time of a run in the use case with a toy trainer: the longest run, its attempts, and the budget."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.train.ending import DONE, FAILED, INTERRUPTED
from shared.evolve import evolve
from shared.job_signals import Stopped
from shared.state.budget import Budget
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from tests.fakes.stores import Clocked
from tests.fakes.train_parts import (
    UID,
    begin_run,
)
from tests.fakes.train_world import World
from tests.servers.trigger_process import eventually


def test_a_training_leaves_time_for_validation_and_upload(world: World) -> None:
    world.new_run(longest_run=1000.0)
    assert world.trainer.stop_at[0] < time.time() + 950


def test_all_attempts_together_train_for_the_longest_run(world: World) -> None:
    """Also those that a machine ended: what is learned by then is judged."""
    clock = Clocked(world.store, world.store.now())
    world.store, world.jobs, world.registry = clock, Jobs(clock, UID), Registry(clock, UID)

    def taken_away(number: int) -> None:
        clock.time += timedelta(seconds=299)
        if number % 2 == 0:
            raise Stopped

    world.trainer.on_epoch = [taken_away]
    world.claim = begin_run(clock, longest_run=1000.0, epochs=8)
    world.jobs.update(lambda record, _: evolve(record, training=evolve(record.held, price="3.60 EUR")))
    assert world.run(world.claim) == INTERRUPTED
    assert world.next_attempt() == INTERRUPTED
    world.trainer.on_epoch = []
    begun = time.time()
    assert world.next_attempt() == DONE, world.message
    assert world.trainer.started == [1, 3, 5]
    first, second, third = (at - begun for at in world.trainer.stop_at)
    assert (first, second, third) == (
        pytest.approx(900, abs=60),
        pytest.approx(0.9 * (1000 - 598), abs=60),
        pytest.approx(0, abs=60),
    )
    assert (world.outcome, world.served()) == ("promoted", 1)
    made, record = world.registry.manifest("label", 1), world.jobs.read()
    assert record.last_run
    used = sum(record.used.values())
    assert (made.seconds, record.last_run.seconds, used) == (1196, 1196, 1196), (
        "also what the longest run does not bound"
    )
    assert str(made.cost) == str(record.last_run.cost) == "1.20 EUR"


def test_attempts_that_left_no_checkpoint_and_no_time_fail_the_run(world: World) -> None:
    clock = Clocked(world.store, world.store.now())
    world.store, world.jobs, world.registry = clock, Jobs(clock, UID), Registry(clock, UID)

    def taken_away(*_: Any, **__: Any) -> Any:
        clock.time += timedelta(seconds=950)
        raise Stopped

    world.trainer.fit, fit = taken_away, world.trainer.fit  # type: ignore[method-assign]
    world.claim = begin_run(clock, longest_run=1000.0, epochs=4)
    assert world.run(world.claim) == INTERRUPTED
    world.trainer.fit = fit  # type: ignore[method-assign]
    assert world.next_attempt() == FAILED
    assert "images, and earlier attempts, took 950 of the 1000 s" in world.message


class Budgeted:
    """A world whose jobs may run for an hour a day; the day begins with `used` minutes."""

    def __init__(self, world: World, used: float) -> None:
        self.world, self.clock = world, Clocked(world.store, datetime(2026, 5, 1, 12, tzinfo=UTC))
        world.store, world.jobs, world.registry = self.clock, Jobs(self.clock, UID), Registry(self.clock, UID)
        world.budget = Budget(day=60)
        world.jobs.update(lambda record, _: evolve(record, used={"2026-05-01": used * 60}))


def test_a_training_takes_what_is_left_of_the_budget(world: World) -> None:
    Budgeted(world, used=50)
    assert world.new_run() == DONE
    assert world.trainer.stop_at[0] == pytest.approx(time.time() + 0.9 * 600, abs=60)
    assert "stopped" not in world.message


def test_a_training_whose_budget_is_used_up_ends_at_a_checkpoint_is_judged_and_says_so(
    world: World, tmp_path: Path
) -> None:
    """Also if others used it: each renewal of the claim looks."""
    budgeted = Budgeted(world, used=20)
    world.settings = {"LABELLOOP_CLAIM_LIFETIME": 0.3}

    def an_hour_passes(number: int) -> None:
        if number == 2:
            budgeted.clock.time += timedelta(minutes=45)
            eventually(lambda: list(tmp_path.rglob("abort-1-enough")), "the heartbeat sees it")

    world.trainer.on_epoch = [an_hour_passes]
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 1)
    sentence = "the training stopped after 2 of 4 epochs: 65 of the 60 minutes that the project's jobs may run in a day"
    assert sentence in world.message
    manifest = world.registry.manifest("label", 1)
    assert sentence in manifest.lineage["remarks"]
    world.registry.download_file("label", manifest.file("report.html"), tmp_path / "report.html")
    assert "the training stopped after 2 of 4 epochs" in (tmp_path / "report.html").read_text()


def test_with_too_little_of_the_budget_left_to_train_the_next_attempt_goes_on_when_there_is_more(world: World) -> None:
    budgeted = Budgeted(world, used=57)
    assert world.new_run() == INTERRUPTED
    claim = world.jobs.read().held
    assert (claim.error or "").startswith("too little time is left to train: 57 of the 60 minutes")
    assert (claim.preempted, world.trainer.started) == (1, [])
    budgeted.clock.time += timedelta(hours=12)
    assert world.next_attempt() == DONE
    assert (world.outcome, world.studio.exports) == ("promoted", 1)
