"""Several workers of one prelabelling, each of which may be killed: no prediction is written twice, none is missing."""

import threading
from datetime import timedelta

import pytest

from jobs.prelabel.ending import DONE, FAILED, INTERRUPTED
from jobs.prelabel.shares import Share
from shared.errors import LabelStudioError
from shared.evolve import evolve
from shared.job_signals import Stopped
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims, keys
from shared.state.budget import used_by
from shared.state.records import find
from tests.fakes.prelabel_parts import PAGE, UID, Killed, LabelStudioInMemory, Prelabelling
from tests.fakes.stores import Clocked

TASKS = list(range(1, 2 * PAGE + 6))
EACH_ONCE = [(task, "label:v1") for task in TASKS]
WORKERS = 3


@pytest.fixture
def clock(file_store: ObjectStore) -> Clocked:
    return Clocked(file_store, file_store.now())


@pytest.fixture
def world(clock: Clocked) -> Prelabelling:
    return Prelabelling(clock, LabelStudioInMemory(list(TASKS)))


def at_the_first_task(world: Prelabelling, *others: str, outcomes: list[int]) -> None:
    """While the worker that begins predicts its first task, the others begin, each until it ends."""

    def begin(_: int) -> None:
        world.predicting = lambda _: None
        outcomes.extend(world.attempt("run-1", nonce=nonce) for nonce in others)

    world.predicting = begin


def share(world: Prelabelling, number: int) -> Share:
    found = find(Share, world.store, keys.share(UID, number))[0]
    assert found is not None
    return found


def test_workers_take_the_shares_that_are_free_and_the_first_one_ends_the_run(world: Prelabelling) -> None:
    outcomes: list[int] = []
    world.broken = {2, 3, TASKS[-1]}
    at_the_first_task(world, "second", "a second copy of the launch", outcomes=outcomes)
    assert world.attempt(world.begin(WORKERS), nonce="first") == DONE
    assert outcomes == [DONE, DONE]
    assert sorted(world.studio.predictions) == [pair for pair in EACH_ONCE if pair[0] not in world.broken]
    assert [share(world, number).nonce for number in range(WORKERS)] == ["first", "second", "second"]
    assert len(world.asked) == len(TASKS), "each task was predicted by one worker"
    done, last = world.record.prelabelled, world.record.last_prelabel
    assert done is not None
    assert last is not None
    assert (done.through, done.left, done.predicted, done.why) == (TASKS[-1], 3, len(TASKS) - 3, {"not_found": 3})
    assert (last.outcome, world.studio.model_version, world.record.prelabel) == ("prelabelled", "label:v1", None)


def test_alone_the_first_worker_does_every_share(world: Prelabelling) -> None:
    """The target has no room for the others, or they come too late."""
    assert world.attempt(world.begin(WORKERS), nonce="first") == DONE
    assert sorted(world.studio.predictions) == EACH_ONCE
    assert world.attempt("run-1", nonce="late") == DONE
    assert sorted(world.studio.predictions) == EACH_ONCE


def test_how_far_all_are_together_can_be_seen(world: Prelabelling) -> None:
    world.studio.tasks = TASKS[:30]
    seen: list[int] = []

    def look(_: int) -> None:
        world.predicting = lambda _: None
        world.attempt("run-1", nonce="second")
        world.predicting = lambda task: seen.append(writing.done) if (writing := world.jobs.runs.writing()) else None

    world.predicting = look
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.prelabel.progress._INTERVAL", 0.0)
        world.attempt(world.begin(WORKERS), nonce="first")
    of_the_second = sum(task % WORKERS != 0 for task in world.studio.tasks)
    assert seen[0] == of_the_second + 1
    writing = world.jobs.runs.writing()
    assert writing is not None
    assert writing.done == writing.tasks == 30


def second_fails(world: Prelabelling, error: BaseException, after: int, outcomes: list[int | BaseException]) -> None:
    """The second worker, which begins at the first one's first task, meets an error after so many predictions."""

    def begin(_: int) -> None:
        asked = len(world.asked)

        def fail(_: int) -> None:
            if len(world.asked) - asked > after:
                raise error

        world.predicting = fail
        try:
            outcomes.append(world.attempt("run-1", nonce="second"))
        except Killed as killed:
            outcomes.append(killed)
        world.predicting = lambda _: None

    world.predicting = begin


@pytest.mark.parametrize("after", [0, 60, 101])
def test_the_share_of_a_worker_that_was_killed_is_done_by_the_first_one(
    world: Prelabelling, clock: Clocked, after: int
) -> None:
    outcomes: list[int | BaseException] = []
    pauses: list[float] = []

    def pass_time(seconds: float) -> None:
        assert share(world, 1).nonce == "second", "it may still be there"
        pauses.append(seconds)
        clock.time += timedelta(seconds=Settings().claim_lifetime / 2)

    second_fails(world, Killed(), after, outcomes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.prelabel.workers.time.sleep", pass_time)
        assert world.attempt(world.begin(2), nonce="first") == DONE
    assert [type(outcome) for outcome in outcomes] == [Killed]
    assert len(pauses) == 2, "the lifetime of a claim"
    assert share(world, 1).nonce == "first"
    assert sorted(world.studio.predictions) == EACH_ONCE


@pytest.mark.parametrize(("error", "code"), [(Stopped(), INTERRUPTED), (LabelStudioError("it answers 502"), FAILED)])
def test_a_worker_that_has_to_end_leaves_its_share_to_the_others_at_once(
    world: Prelabelling, error: BaseException, code: int
) -> None:
    outcomes: list[int | BaseException] = []
    second_fails(world, error, 60, outcomes)
    assert world.attempt(world.begin(WORKERS), nonce="first") == DONE
    assert outcomes == [code]
    assert sorted(world.studio.predictions) == EACH_ONCE


def test_the_first_worker_may_be_killed_and_the_next_attempt_goes_on(world: Prelabelling) -> None:
    def die(task: int) -> None:
        if task == 30:
            raise Killed

    world.predicting = die
    with pytest.raises(Killed):
        world.attempt(world.begin(WORKERS), nonce="first")
    world.predicting = lambda _: None
    world.next_attempt()
    outcomes: list[int] = []
    at_the_first_task(world, "another", outcomes=outcomes)
    assert world.attempt("run-1", nonce="next") == DONE
    assert outcomes == [DONE]
    assert share(world, 0).nonce == "next", "shares of the attempt before mean nothing"
    assert sorted(world.studio.predictions) == EACH_ONCE


def test_a_worker_stops_when_the_first_one_is_gone(world: Prelabelling) -> None:
    world.settings = evolve(Settings(), claim_lifetime=0.3)

    def begin(_: int) -> None:
        def lose(task: int) -> None:
            if len(world.asked) == 20:
                world.next_attempt()
                join_heartbeats(world)

        world.predicting = lose
        assert world.attempt("run-1", nonce="second") == DONE

    world.predicting = begin
    assert world.attempt(world.begin(WORKERS), nonce="first") == DONE
    assert len(world.asked) < 30
    assert world.studio.predictions == []


def join_heartbeats(world: Prelabelling) -> None:
    """Until they know that the claim is another attempt's."""
    for thread in threading.enumerate():
        if thread.name == "heartbeat":
            thread.join(60)


def test_a_version_that_is_superseded_meanwhile_is_shown_by_nobody(world: Prelabelling) -> None:
    outcomes: list[int] = []

    def begin(_: int) -> None:
        world.predicting = lambda _: None
        world.models.served = "label:v2"
        outcomes.append(world.attempt("run-1", nonce="second"))

    world.predicting = begin
    assert world.attempt(world.begin(WORKERS), nonce="first") == DONE
    assert outcomes == [DONE]
    done = world.record.prelabelled
    assert done is not None
    assert (done.model_version, done.through, world.studio.model_version) == ("label:v1", 0, "labelloop")
    world.predicting = lambda _: None
    assert world.attempt(world.begin(WORKERS)) == DONE
    assert [pair for pair in sorted(world.studio.predictions) if pair[1] == "label:v2"] == [
        (task, "label:v2") for task in TASKS
    ]
    assert world.studio.model_version == "label:v2"


def test_the_time_of_each_worker_counts(world: Prelabelling, clock: Clocked) -> None:
    run_id = world.begin(WORKERS)
    claim = world.jobs.update(claims.start, run_id, nonce="n", lifetime=600).held
    clock.time += timedelta(seconds=100)
    world.jobs.update(claims.renew, claim, lifetime=600, longest_run=3600)
    assert used_by(world.record.used, clock.now())[1] == 300
    clock.time += timedelta(seconds=10)
    world.jobs.update(claims.release, claim, outcome="prelabelled")
    assert used_by(world.record.used, clock.now())[1] == 330
    last = world.record.last_prelabel
    assert last is not None
    assert last.seconds == 330
