"""Notices from the store to a receiver: at least once, by one process at a time, and in the way of nothing."""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from functions.train_trigger.notices.message import body
from functions.train_trigger.notices.sender import Sender
from functions.train_trigger.routes import Routes
from functions.train_trigger.warm_up import WarmUp
from shared.errors import NoticeError, StoreError
from shared.state import jobs_fields, outbox
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.notices import EVENTS, KEPT, Notice
from shared.state.projects import write_project
from shared.state.registry import Registry
from tests.fakes.stores import Clocked
from tests.fakes.threads import ClockedThreads
from tests.fakes.trigger_parts import CONFIG, UID, World
from tests.samples.versions import manifest

HOUR = timedelta(hours=1)


class Receiver:
    """Keeps what arrives; fails while it is down."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.asked = 0
        self.down = False
        self.on_post: Callable[[], object] = lambda: None

    def __call__(self, notice_id: str, body: bytes) -> int:
        self.asked += 1
        self.on_post()
        if self.down:
            raise NoticeError("receiver is not reachable")
        self.got.append(json.loads(body))
        assert self.got[-1]["id"] == notice_id
        return 200


class Trial:
    """A project that is connected, and a train_trigger that sends notices about it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.world = World(folder, notify_url=SecretStr("https://hooks/secret"), **settings)
        self.clock = Clocked(self.world.store, self.world.store.now().replace(day=10, hour=12))
        self.threads, self.receiver = ClockedThreads(), Receiver()
        write_project(self.world.store, UID, label_config=CONFIG, title="Trees & <!channel>")
        self.jobs = self.world.jobs = Jobs(self.clock, UID)
        self.routes = self.another()

    def another(self) -> Routes:
        world = self.world
        sender = Sender(self.clock, world.settings, world.metrics, self.threads, self.receiver)
        warm_up = WarmUp(world.settings, self.clock, world.metrics)
        trigger = world.another_trigger(self.clock)
        return Routes(self.clock, trigger, warm_up, world.metrics, self.threads, debounce=60, notices=sender)

    def run_ends(self, outcome: str = "promoted") -> None:
        self.world.label_studio.annotations += 100
        self.clock.time += HOUR
        assert self.world.another_trigger(self.clock).reconcile(UID).status == "launched"
        claim = self.world.job_runs()
        self.world.job_ends(claim, outcome)

    def sweep(self) -> list[str]:
        self.receiver.got.clear()
        self.routes._sweep()
        return [told["event"] for told in self.receiver.got]

    def counted(self, result: str) -> float:
        return self.world.metrics.registry.get_sample_value("labelloop_notices_total", {"result": result}) or 0


@pytest.mark.parametrize("outcome", ["promoted", "rejected", "failed"])
def test_the_sweep_after_a_run_tells_of_it_once(tmp_path: Path, outcome: str) -> None:
    trial = Trial(tmp_path, label_studio_url="https://studio")
    trial.run_ends(outcome)
    assert trial.sweep() == [outcome]
    assert trial.receiver.got[0]["text"].startswith("<https://studio/projects/1|Trees &amp; &lt;!channel&gt;>: ")
    assert trial.receiver.got[0]["project"]["title"] == "Trees & <!channel>"
    assert trial.sweep() == []
    assert trial.jobs.read().notices == ()
    assert trial.counted("sent") == 1


def test_it_names_the_versions_that_the_run_published(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.run_ends("promoted")
    run_id = trial.jobs.read().notices[0].run_id
    Registry(trial.world.store, UID).publish("label", lambda number: manifest(number, run_id=run_id))
    trial.sweep()
    found = trial.receiver.got[0]["versions"]
    assert [(one["control"], one["version"], one["passed"]) for one in found] == [("label", 1, True)]


def test_a_receiver_that_is_down_gets_it_later_and_all_that_came_meanwhile(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.receiver.down = True
    trial.run_ends("failed")
    trial.sweep()
    trial.run_ends("promoted")
    assert trial.sweep() == []
    assert trial.receiver.asked == 2, "a sweep tries one notice, and goes on when that one arrives"
    trial.receiver.down = False
    assert trial.sweep() == ["promoted"], "the other one is left alone for its pause"
    trial.clock.time += 2 * HOUR
    trial.sweep()
    assert trial.jobs.read().notices == ()
    assert (trial.counted("sent"), trial.counted("failed")) == (2, 2)


def test_whom_it_was_sent_by_may_be_killed_before_it_is_noted_then_it_comes_again_with_its_id(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.run_ends()
    notice = trial.jobs.read().notices[0]
    trial.jobs.update(outbox.take, notice.id)  # … sent, and killed
    assert trial.sweep() == [], "it may be on its way"
    trial.clock.time += HOUR
    assert trial.sweep() == ["promoted"]
    assert trial.receiver.got[0]["id"] == notice.id


def test_of_two_processes_one_sends(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.run_ends()
    record = trial.jobs.read()
    one, other = (
        Sender(trial.clock, trial.world.settings, trial.world.metrics, trial.threads, trial.receiver) for _ in range(2)
    )
    one.note(UID, record)
    other.note(UID, record)
    one.send()
    other.send()
    assert len(trial.receiver.got) == 1


def test_nothing_waits_for_the_receiver(tmp_path: Path) -> None:
    """What is due is launched before anything is sent, and a receiver that hangs costs a sweep one time-out."""
    trial = Trial(tmp_path)
    trial.run_ends("rejected")
    trial.run_ends("failed")
    trial.world.label_studio.annotations += 100
    trial.clock.time += 2 * HOUR
    trial.receiver.down, launched = True, len(trial.world.launcher.launched)
    seen: list[int] = []

    def hang() -> None:
        seen.append(len(trial.world.launcher.launched))
        trial.threads.now += 5

    trial.receiver.on_post = hang
    assert trial.sweep() == []
    assert seen == [launched + 1]
    assert trial.threads.now == 5


def test_what_nobody_took_for_a_day_is_dropped_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trial = Trial(tmp_path)
    trial.run_ends("failed")
    trial.clock.time += KEPT
    with caplog.at_level(logging.ERROR):
        assert trial.sweep() == []
    assert [record.__dict__["event"] for record in caplog.records if "notice" in record.__dict__] == ["notice_dropped"]
    assert trial.counted("dropped") == 1
    assert not [one for one in trial.jobs.read().notices if one.event == "failed"]


def test_a_budget_that_is_spent_is_told_once_a_day(tmp_path: Path) -> None:
    trial = Trial(tmp_path, budget_day=30)
    day = trial.clock.time.date().isoformat()

    def spend(record: JobsRecord, _now: datetime) -> JobsRecord:
        return record.model_copy(update={"used": {day: 1800.0}})

    trial.jobs.update(spend)
    assert trial.sweep() == [], "this sweep notes it, the next one tells"
    assert trial.sweep() == ["budget_spent"]
    assert "30 of the 30 minutes" in trial.receiver.got[0]["text"]
    assert trial.sweep() == []


def test_metrics_tell_how_many_projects_fail(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    for outcome, failing in (("promoted", 0), ("failed", 1)):
        trial.run_ends(outcome)
        trial.sweep()
        assert trial.world.metrics.registry.get_sample_value("labelloop_projects_failing") == failing
        trial.world.label_studio.annotations = 0
        trial.clock.time += 30 * HOUR
    trial.jobs.update(jobs_fields.close)
    trial.sweep()
    assert trial.world.metrics.registry.get_sample_value("labelloop_projects_failing") == 0


def test_without_an_address_nothing_is_sent_and_no_budget_is_looked_at(tmp_path: Path) -> None:
    world = World(tmp_path, budget_day=30)
    world.label_studio.annotations = 20
    world.reconcile()
    world.job_ends(world.job_runs(), "failed")
    record = world.jobs.read()
    sender = Sender(world.store, world.settings, world.metrics, ClockedThreads(), None)
    sender.note(UID, record)
    sender.send()
    world.reconcile(sweeping=True)
    assert [one.event for one in world.jobs.read().notices] == ["failed"]


def test_a_store_that_fails_meanwhile_ends_nothing_but_this_try(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.run_ends()
    sender = Sender(trial.clock, trial.world.settings, trial.world.metrics, trial.threads, trial.receiver)
    sender.note(UID, trial.jobs.read())
    trial.world.store.get = _fails  # type: ignore[method-assign]
    sender.send()
    assert trial.receiver.asked == 0


def _fails(*_: object, **__: object) -> Any:
    raise StoreError("the network broke")


@pytest.mark.parametrize("event", [*EVENTS, "of a newer labelloop"])
@pytest.mark.parametrize("title", ["", "Trees\n<!here>"])
def test_slack_sees_one_line_without_commands(event: str, title: str, tmp_path: Path) -> None:
    notice = Notice(
        id="i", event=event, at=World(tmp_path).store.now(), message="<!channel> & <https://x|y>", run_id="r"
    )
    told = json.loads(body(notice, UID, title, [], None))
    assert not set("<>\n") & set(told["text"])
    assert told["text"].startswith("Trees &lt;!here&gt;: " if title else "project 1: ")
    assert told["text"].endswith("&lt;!channel&gt; &amp; &lt;https://x|y&gt;")
