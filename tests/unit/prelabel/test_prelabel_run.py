"""One attempt after the other of a prelabelling, killed anywhere: no prediction is written twice, none is missing."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.prelabel.ending import DONE, FAILED, INTERRUPTED
from shared.errors import LabelStudioError, Unauthorized
from shared.evolve import evolve
from shared.job_signals import Stopped
from shared.labelstudio.api import BY_SCORE
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims
from shared.state.budget import Budget
from shared.state.jobs import Jobs
from shared.state.projects import read_project, write_project
from tests.fakes.prelabel_parts import CONFIG, PAGE, UID, Killed, LabelStudioInMemory, Prelabelling
from tests.fakes.stores import Clocked
from tests.samples.shown_projects import manifest, publish

TASKS = list(range(1, 2 * PAGE + 6))
SEQUENTIAL = "Sequential sampling"


@pytest.fixture
def world(file_store: ObjectStore) -> Prelabelling:
    return Prelabelling(file_store, LabelStudioInMemory(list(TASKS)))


def test_every_task_gets_one_prediction_and_annotators_see_it(world: Prelabelling) -> None:
    world.broken = {3, TASKS[-1]}
    assert world.attempt(world.begin()) == DONE
    assert sorted(world.studio.predictions) == [(task, "label:v1") for task in TASKS if task not in world.broken]
    assert world.studio.model_version == "label:v1"
    done, last = world.record.prelabelled, world.record.last_prelabel
    assert done is not None
    assert last is not None
    assert (done.model_version, done.through, done.left, done.tries) == ("label:v1", TASKS[-1], 2, 1)
    assert (done.predicted, done.empty, done.why) == (len(TASKS) - 2, len(TASKS) - 2, {"not_found": 2})
    assert "in 303 of them nothing was found; 2 tasks have none (2 not_found): the log says why" in last.message
    assert done.shown
    assert (last.kind, last.outcome) == ("prelabel", "prelabelled")
    assert world.record.prelabel is None
    assert world.seconds > 10 * Settings().predict_deadline, "videos that are too long for a request have time here"


def test_a_second_run_predicts_what_is_new_and_what_had_failed(world: Prelabelling) -> None:
    world.broken = {3}
    world.attempt(world.begin())
    world.asked, world.broken = [], set()
    world.studio.tasks.append(1000)
    assert world.attempt(world.begin()) == DONE
    assert world.asked == [3, 1000]
    done = world.record.prelabelled
    assert done is not None
    assert (done.through, done.left, done.tries) == (1000, 0, 0)
    world.studio.tasks.append(1001)
    assert world.attempt(world.begin()) == DONE
    assert world.asked == [3, 1000, 1001]
    assert world.studio.looked_after == [0, 0, 1000], "nothing was left: it looks at what is new"
    world.studio.tasks.remove(1001)
    assert world.attempt(world.begin()) == DONE
    done = world.record.prelabelled
    assert done is not None
    assert (done.through, done.left) == (1001, 0)


def test_a_reason_that_holds_for_all_tasks_is_noted_with_what_it_depends_on(world: Prelabelling) -> None:
    def hopeless() -> tuple[bool, str]:
        assert world.attempt(world.begin(under="digest")) == DONE
        done = world.record.prelabelled
        assert done is not None
        return done.hopeless, done.under

    world.broken = set(TASKS)
    assert not hopeless()[0], "images that are not to be had now"
    world.reason = "no_model"
    assert hopeless() == (True, "digest")
    world.broken = set()
    assert not hopeless()[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_under_other_conditions_predictions_of_the_same_version_are_replaced(world: Prelabelling, workers: int) -> None:
    world.broken = {3}
    world.attempt(world.begin(under="a config"))
    world.studio.tasks.append(1000)
    for _ in range(2):
        world.asked, world.broken, world.studio.renewed = [], {4}, {}
        assert world.attempt(world.begin(workers, under="another one")) == DONE
        if _ == 0:
            assert sorted(world.asked) == sorted(world.studio.tasks)
            assert set(world.studio.renewed) == {*TASKS} - {3, 4}, "what is not to be had keeps what it has"
            last = world.record.last_prelabel
            assert last is not None
            assert "they replace those by another labeling config or other settings" in last.message
    assert (world.asked, world.studio.renewed) == ([], {}), "once is enough"
    assert sorted(world.studio.predictions) == [(task, "label:v1") for task in [*TASKS, 1000]]


def test_killed_while_predictions_are_replaced_all_are_replaced_by_the_next_attempt(world: Prelabelling) -> None:
    world.attempt(world.begin(under="a config"))

    def die(name: str) -> None:
        if name == "stored":
            raise Killed

    world.studio.before = die
    run_id = world.begin(under="another one")
    with pytest.raises(Killed):
        world.attempt(run_id)
    world.studio.before, world.studio.renewed = lambda _: None, {}
    assert world.attempt(world.next_attempt(), nonce="of another process") == DONE
    assert set(world.studio.renewed) == set(TASKS)


def test_where_no_class_means_a_label_any_more_predictions_are_emptied(world: Prelabelling) -> None:
    """Else annotators see regions with labels that the labeling config does not have."""
    world.attempt(world.begin(under="a config"))
    world.broken, world.reason = set(TASKS), "no_class"
    assert world.attempt(world.begin(under="another one")) == DONE
    assert set(world.studio.renewed) == set(TASKS)
    assert {str(one["result"]) for one in world.studio.renewed.values()} == {"[]"}
    done = world.record.prelabelled
    assert done is not None
    assert (done.predicted, done.left, done.hopeless) == (0, len(TASKS), True)


def test_how_far_it_is_can_be_seen_meanwhile(world: Prelabelling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.prelabel.progress._INTERVAL", 0.0)
    world.studio.predictions = [(task, "label:v1") for task in TASKS[: PAGE // 2]]  # by an attempt before
    seen: list[int] = []

    def look(_: int) -> None:
        writing = world.jobs.runs.writing()
        assert writing is not None
        assert (writing.run_id, writing.version, writing.tasks) == ("run-1", "label:v1", len(TASKS))
        seen.append(writing.done)

    world.predicting = look
    world.attempt(world.begin())
    assert seen == [*range(PAGE - PAGE // 2), *range(PAGE, len(TASKS))]
    writing = world.jobs.runs.writing()
    assert writing is not None
    assert writing.done == writing.tasks


@pytest.mark.parametrize("request_number", range(1, 13))
def test_killed_at_any_request_the_next_attempt_goes_on_without_a_double(
    world: Prelabelling, request_number: int
) -> None:
    requests: list[str] = []

    def die(name: str) -> None:
        requests.append(name)
        if len(requests) == request_number:
            raise Killed

    world.studio.before = die
    run_id = world.begin()
    with pytest.raises(Killed):
        world.attempt(run_id)
    world.studio.before = lambda _: None
    assert world.attempt(world.next_attempt(), nonce="of another process") == DONE
    assert sorted(world.studio.predictions) == [(task, "label:v1") for task in TASKS]
    assert world.studio.model_version == "label:v1"


def test_sigterm_lets_the_next_attempt_begin_at_once_and_counts_for_nothing(world: Prelabelling) -> None:
    def stop(name: str) -> None:
        if name == "page":
            raise Stopped

    world.studio.before = stop
    assert world.attempt(world.begin()) == INTERRUPTED
    claim = world.record.prelabel
    assert claim is not None
    assert (claim.preempted, claim.nonce) == (1, None)


def test_an_error_that_nobody_foresaw_counts_against_the_run_and_is_told_with_its_kind(world: Prelabelling) -> None:
    def fail(name: str) -> None:
        if name == "page":
            raise KeyError("results")

    world.studio.before = fail
    assert world.attempt(world.begin()) == INTERRUPTED
    claim = world.record.prelabel
    assert claim is not None
    assert (claim.preempted, claim.nonce, claim.error) == (0, None, "KeyError: 'results'")


def test_when_the_budget_is_used_up_the_rest_waits_and_nothing_is_shown_before(file_store: ObjectStore) -> None:
    clock = Clocked(file_store, datetime(2026, 5, 1, 23, tzinfo=UTC))
    world = Prelabelling(clock, LabelStudioInMemory(list(TASKS)))
    world.budget = Budget(day=60)
    world.jobs.update(lambda record, _: evolve(record, used={"2026-05-01": 3600.0}))
    assert world.attempt(world.begin()) == INTERRUPTED
    assert (len(world.studio.predictions), world.studio.model_version) == (PAGE, "labelloop")
    claim = world.record.prelabel
    assert claim is not None
    assert (claim.error or "").startswith("the other predictions wait: 60 of the 60 minutes that the project's jobs")
    assert (claim.preempted, claim.nonce) == (1, None)
    clock.time += timedelta(hours=1)
    assert world.attempt(world.next_attempt(), nonce="of another process") == DONE
    assert sorted(world.studio.predictions) == [(task, "label:v1") for task in TASKS]
    assert world.studio.model_version == "label:v1"


def test_a_version_that_is_superseded_meanwhile_is_not_shown(world: Prelabelling) -> None:
    def promote(name: str) -> None:
        if name == "stored":
            world.models.served = "label:v2"

    world.studio.before = promote
    assert world.attempt(world.begin()) == DONE
    assert world.studio.model_version == "labelloop"
    assert world.studio.kept == []
    done = world.record.prelabelled
    assert done is not None
    assert done.model_version == "label:v1", "so that the trigger sees that another one is served"
    assert not done.shown
    world.studio.before = lambda _: None
    assert world.attempt(world.begin()) == DONE
    assert world.studio.model_version == "label:v2"
    assert [task for task, version in sorted(world.studio.predictions) if version == "label:v2"] == TASKS


def test_nothing_is_shown_after_disconnecting_and_all_of_it_once_connected_again(world: Prelabelling) -> None:
    world.predicting = lambda _: world.connect(push=False)
    assert world.attempt(world.begin()) == DONE
    assert (world.studio.model_version, world.studio.kept) == ("labelloop", [])
    assert world.asked == TASKS[:PAGE]
    world.predicting = lambda _: None
    world.connect()
    assert world.attempt(world.begin()) == DONE
    assert sorted(world.studio.predictions) == [(task, "label:v1") for task in TASKS]
    assert world.studio.model_version == "label:v1"


def test_a_version_that_was_not_shown_is_looked_at_from_the_beginning(world: Prelabelling) -> None:
    """It may be served again before anybody looks: then no task is new, and yet it has to be shown."""

    def promote(name: str) -> None:
        if name == "stored" and len(world.studio.predictions) == len(TASKS):
            world.models.served = "label:v2"

    world.studio.before = promote
    assert world.attempt(world.begin()) == DONE
    assert world.studio.model_version == "labelloop"
    done = world.record.prelabelled
    assert done is not None
    assert (done.model_version, done.through) == ("label:v1", 0)


def test_label_studio_may_refuse_to_remove_predictions(world: Prelabelling) -> None:
    def refuse(name: str) -> None:
        if name == "prune":
            raise LabelStudioError("DELETE /api/predictions/1/ answers 403", status=403)

    world.attempt(world.begin())
    world.models.served, world.studio.before = "label:v2", refuse
    assert world.attempt(world.begin()) == DONE
    done = world.record.prelabelled
    assert done is not None
    assert (world.studio.model_version, done.model_version) == ("label:v2", "label:v2")


def test_an_outage_of_the_store_is_waited_out(world: Prelabelling) -> None:
    world.models.outages = 3
    assert world.attempt(world.begin()) == DONE
    assert world.models.outages == 0
    assert world.studio.model_version == "label:v1"


def test_a_job_that_lost_its_claim_stores_no_more_of_its_page(world: Prelabelling) -> None:
    world.settings = evolve(Settings(), claim_lifetime=0.3)

    def lose(task: int) -> None:
        if task == 20:
            world.next_attempt()
            for thread in threading.enumerate():
                if thread.name == "heartbeat":  # it ends once it knows
                    thread.join(60)

    world.predicting = lose
    assert world.attempt(world.begin()) == DONE
    assert world.asked == list(range(1, 21))
    assert world.studio.predictions == []


def test_predictions_go_twelve_hours_after_their_version_was_superseded(file_store: ObjectStore) -> None:
    clock = Clocked(file_store, file_store.now())
    world = Prelabelling(clock, LabelStudioInMemory(list(TASKS)))
    for version, hours in (("label:v1", 0), ("label:v2", 100), ("label:v3", 5), ("label:v3", 8), ("label:v2", 5)):
        clock.time += timedelta(hours=hours)
        world.models.served = version
        assert world.attempt(world.begin()) == DONE
    one, two, three = "label:v1", "label:v2", "label:v3"
    assert world.studio.kept == [{one, two}, {one, two, three}, {two, three}, {two, three}]


def test_predictions_of_a_control_that_was_renamed_go_too(world: Prelabelling) -> None:
    """`outline:v1+label:v1` is of labelloop only to who knows both controls."""
    publish(world.store, UID, "outline", manifest(1, world.store.now(), control="outline"))
    for version in ("outline:v1+label:v1", "label:v1"):
        world.models.served = version
        assert world.attempt(world.begin()) == DONE
    assert world.studio.pruned == [{"label", "outline"}]


def test_a_project_without_any_prediction_keeps_what_annotators_see(world: Prelabelling) -> None:
    world.broken = set(TASKS)
    assert world.attempt(world.begin()) == DONE
    assert world.studio.model_version == "labelloop"


def sampling(world: Prelabelling) -> tuple[str, str]:
    """In Label Studio, and what the store keeps of what it was before."""
    project = read_project(world.store, UID)
    assert project is not None
    return world.studio.ordered, project.sampling_before


def test_tasks_are_handed_out_by_score_from_the_first_version_on(world: Prelabelling) -> None:
    """Before it, and without a score, Label Studio's own order is as good."""
    world.settings = evolve(Settings(), order="useful")
    world.models.served = "label:base-yolo11n"
    world.attempt(world.begin())
    assert sampling(world) == (SEQUENTIAL, "")
    world.models.served = "label:v1"
    for _ in range(2):
        world.attempt(world.begin())
        assert sampling(world) == (BY_SCORE, SEQUENTIAL)
    world.settings = Settings()
    world.attempt(world.begin())
    assert sampling(world) == (SEQUENTIAL, "")


@pytest.mark.parametrize("asked", [{"order": "off"}, {"order": "easy", "control_group": 0.05}])
def test_an_order_that_a_person_chose_is_left_alone(world: Prelabelling, asked: dict[str, Any]) -> None:
    world.studio.ordered, world.settings = BY_SCORE, evolve(Settings(), **asked)
    world.attempt(world.begin())
    world.studio.ordered = "Uniform sampling"
    world.attempt(world.begin())
    assert sampling(world) == ("Uniform sampling", "")
    assert world.studio.handed_out == 0


def test_a_labeling_config_that_changes_while_the_order_is_noted_stays(world: Prelabelling) -> None:
    changed = CONFIG.replace("Tree", "Rock")

    def change(name: str) -> None:
        if name == "sampling":
            write_project(world.store, UID, label_config=changed)

    world.settings, world.studio.before = evolve(Settings(), order="useful"), change
    world.attempt(world.begin())
    assert sampling(world) == (BY_SCORE, SEQUENTIAL)
    project = read_project(world.store, UID)
    assert project is not None
    assert project.label_config == changed


@pytest.mark.parametrize("moment", ["hand_out", "handed_out"])
def test_what_the_order_was_before_survives_a_job_that_is_killed(world: Prelabelling, moment: str) -> None:
    def die(name: str) -> None:
        if name == moment:
            raise Killed

    world.settings, world.studio.before = evolve(Settings(), order="easy"), die
    with pytest.raises(Killed):
        world.attempt(world.begin())
    world.studio.before = lambda _: None
    assert world.attempt(world.next_attempt(), nonce="of another process") == DONE
    assert sampling(world) == (BY_SCORE, SEQUENTIAL)


def test_a_refused_token_fails_the_run_and_leaves_a_training_alone(world: Prelabelling) -> None:
    def refuse(_: str) -> None:
        raise Unauthorized("the token was refused")

    training = Jobs(world.store, UID).update(claims.take, "training", lifetime=600, forced=True).held
    world.studio.before = refuse
    assert world.attempt(world.begin()) == FAILED
    assert world.record.training == training
    last = world.record.last_prelabel
    assert last is not None
    assert (last.outcome, last.failures, world.record.last_run) == ("failed", 1, None)


def test_a_second_copy_of_the_job_ends_without_a_word(world: Prelabelling) -> None:
    run_id = world.begin()
    world.jobs.update(claims.start, run_id, nonce="the first", lifetime=600)
    assert world.attempt(run_id, nonce="the second") == DONE
    assert world.asked == []
