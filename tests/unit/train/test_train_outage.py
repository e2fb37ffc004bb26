"""Images that cannot be fetched in the use case with a toy trainer: an outage is no data."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.train.data.annotations import ExportedTask
from jobs.train.data.files import ImageFiles
from jobs.train.data.split import split_of
from jobs.train.ending import DONE, FAILED, INTERRUPTED
from shared.state import keys
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from tests.fakes.stores import Clocked
from tests.fakes.train_parts import (
    CONFIG,
    UID,
    annotation,
    begin_run,
    rectangle,
)
from tests.fakes.train_world import TWO_CONTROLS, Studio, World


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the tries of one image."""
    monkeypatch.setattr(ImageFiles._fetch.retry, "sleep", lambda _: None)


def one_of_each_side(world: World) -> tuple[int, list[int]]:
    """A val task, and the train tasks, after a first run."""
    assert world.new_run() == DONE
    world.studio.fetched = []
    path = keys.run(UID, world.claim.run_id, "dataset.json")
    stored = world.store.get(path)
    assert stored is not None
    header, *tasks = (json.loads(line) for line in stored.data.splitlines())
    sides = {task["id"]: split_of(task["data"]["$image"], header["border"]) for task in tasks}
    train = [number for number, side in sides.items() if side == "train"]
    return next(number for number, side in sides.items() if side == "val"), train


@pytest.mark.usefixtures("no_waiting")
class TestOutage:
    """Images that are not to be had for now are no data."""

    @pytest.mark.parametrize("reason", ["unreachable", "timeout", "unauthorized", "no_memory"])
    def test_a_model_of_what_is_left_replaces_nothing(self, world: World, reason: str) -> None:
        world.studio.all = Studio(101).all
        world.trainer.score = 0.9
        world.new_run()
        world.trainer.score = 0.02
        world.studio.away = dict.fromkeys(range(13, 101), reason)
        assert world.new_run() == INTERRUPTED
        claim = world.jobs.read().training
        assert claim is not None
        assert "could not be fetched" in (claim.error or "")
        assert reason in (claim.error or "")
        assert world.served() == 1
        assert len(world.registry.versions("label")) == 1, "nothing was trained"
        world.studio.away, world.trainer.score = {}, 0.95
        assert world.next_attempt() == DONE
        assert world.served() == 2

    def test_the_next_attempt_asks_for_what_is_missing_only(self, world: World) -> None:
        val, _ = one_of_each_side(world)
        world.studio.away = {val: "unreachable"}
        assert world.new_run() == INTERRUPTED
        claim = world.jobs.read().training
        assert claim is not None
        assert "1 of 39 images could not be fetched (1 of" in (claim.error or "")
        assert f"task {val}: it is unreachable" in (claim.error or "")
        world.studio.away, world.studio.fetched = {}, []
        assert world.next_attempt() == DONE
        assert (world.studio.fetched, world.served()) == ([val], 2)

    def test_a_small_part_of_the_train_tasks_may_be_missing_and_is_named(self, world: World) -> None:
        _, (first, second, *_) = one_of_each_side(world)
        world.studio.away = {first: "timeout"}
        assert world.new_run() == DONE
        assert f"(1 of 39 tasks were left out (1 timeout), task {first}: it is timeout)" in world.message
        assert world.registry.manifest("label", 2).lineage["tasks"]["left_out"] == {"timeout": 1}
        world.studio.away |= {second: "timeout"}
        assert world.new_run() == INTERRUPTED

    def test_one_host_that_is_gone_for_ever_does_not_stop_a_project(self, world: World) -> None:
        """The last attempt leaves it out, also of the val set: both versions are measured without it."""
        val, _ = one_of_each_side(world)
        world.studio.away = {val: "unreachable"}
        codes = [world.new_run(), *(world.next_attempt() for _ in range(4))]
        assert codes == [INTERRUPTED] * 4 + [DONE]
        assert f"task {val}: it is unreachable" in world.message
        assert world.served() == 2

    def test_an_outage_that_lasts_fails_the_run_and_uses_up_nothing(self, world: World) -> None:
        world.studio.away = dict.fromkeys(range(1, 101), "unreachable")
        assert world.new_run() == INTERRUPTED
        assert [world.next_attempt() for _ in range(5)] == [INTERRUPTED] * 5
        assert world.jobs.read().baseline is None

    @pytest.mark.parametrize("reason", ["not_found", "forbidden", "refused"])
    def test_when_most_images_are_gone_what_is_left_is_no_data_either(self, world: World, reason: str) -> None:
        """A bucket that was moved, signed addresses that are over, a host that nobody allows any more."""
        world.new_run()
        world.studio.away = dict.fromkeys(range(1, 21), reason)
        baseline = world.jobs.read().baseline
        assert world.new_run() == FAILED
        assert f"20 of 39 images are gone, so what is left is not this project's data; task 1: it is {reason}" in (
            world.message
        )
        assert (world.served(), world.jobs.read().baseline) == (1, baseline)
        del world.studio.away[20]
        assert world.new_run() == DONE
        assert f"19 of 39 tasks were left out (19 {reason}), the first is task 1: it is {reason}" in world.message

    def test_a_task_that_is_nested_too_deep_is_named_and_stops_nothing(self, world: World) -> None:
        deep: Any = 1
        for _ in range(300):
            deep = [deep]
        world.studio.all[6] = replace(world.studio.all[6], data={"image": deep})
        assert world.new_run() == DONE
        assert "(1 of 39 tasks were left out (1 no_data), task 7: the data of task 7 has nothing for" in world.message
        assert world.served() == 1

    def test_a_rejected_version_names_what_was_left_out_too(self, world: World) -> None:
        world.new_run()
        world.studio.away, world.trainer.score = {3: "not_found"}, 0.01
        assert world.new_run() == DONE
        assert world.outcome == "rejected"
        assert "(1 of 39 tasks were left out (1 not_found), task 3: it is not_found)" in world.message

    @pytest.mark.parametrize("controls", [CONFIG, TWO_CONTROLS])
    def test_thousands_of_hanging_images_are_not_asked_for(self, world: World, controls: str) -> None:
        """Nor by the next control: at 30 s an image they would burn the GPU for hours."""
        world.studio.config = controls
        both = [rectangle(), rectangle("Bird", control="second")]
        world.studio.all = [
            ExportedTask(number, {"image": f"x{number}"}, (annotation(number, both),)) for number in range(1, 3001)
        ]
        world.studio.away = dict.fromkeys(range(101, 3001), "timeout")
        assert world.new_run() == INTERRUPTED
        claim = world.jobs.read().training
        assert claim is not None
        assert "32 images in a row could not be fetched; the last: it is timeout" in (claim.error or "")
        assert len(world.studio.fetched) < 100 + 3 * (32 + 4) + 1, "three tries each, four at once"

    def test_images_that_took_all_the_time_are_named_and_nothing_is_trained(self, world: World) -> None:
        clock = Clocked(world.store, world.store.now())
        world.jobs, world.registry = Jobs(clock, UID), Registry(clock, UID)
        tasks = world.studio.tasks

        def slowly(project_id: int, is_same: Callable[[int, str], bool]) -> Iterator[ExportedTask]:
            clock.time += timedelta(seconds=950)
            yield from tasks(project_id, is_same)

        world.studio.tasks = slowly  # type: ignore[method-assign]
        world.claim = begin_run(clock, longest_run=1000.0, epochs=4)
        assert world.run(world.claim, clock) == FAILED
        assert "took 950 of the 1000 s that a run may take: too little is left to train. Set LABELLOOP_LONGEST_RUN" in (
            world.message
        )
        assert (world.trainer.started, world.jobs.read().baseline) == ([], None)
