"""At most one call for a key in an interval, and none lost; the clock is the test's."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from functions.train_trigger.debounce import Debounce
from tests.fakes.threads import ClockedThreads

SECONDS = 20


class Calls:
    """Counts calls; a call waits for `go` if `blocked`."""

    def __init__(self, *, blocked: bool = False) -> None:
        self.keys: list[str] = []
        self.at_once = self.max_at_once = 0
        self.go = threading.Event()
        if not blocked:
            self.go.set()
        self._news = threading.Condition()

    def __call__(self, key: str) -> int:
        with self._news:
            self.keys.append(key)
            self.at_once += 1
            self.max_at_once = max(self.max_at_once, self.at_once)
            self._news.notify_all()
        assert self.go.wait(SECONDS)
        with self._news:
            self.at_once -= 1
        return len(self.keys)

    def wait_for(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.keys) >= count, SECONDS), self.keys


class Trial:
    """A debounce of ten seconds."""

    def __init__(self, *, blocked: bool = False, **how: Any) -> None:
        self.calls, self.clock = Calls(blocked=blocked), ClockedThreads()
        self.refused: list[str] = []
        on_full = self.refused.append
        self.debounce = Debounce(self.calls, self.clock, interval=10, at_once=4, on_full=on_full, **how)

    def ask(self, key: str) -> int | None:
        """What the call that starts now answers, once it has ended."""
        future = self.debounce.ask(key)
        return None if future is None else future.result(SECONDS)


def test_the_first_is_called_at_once_and_its_result_can_be_awaited() -> None:
    assert Trial().ask("a") == 1


def test_many_become_one_more_at_the_end_of_the_interval() -> None:
    trial = Trial()
    assert [trial.ask("a") for _ in range(500)] == [1, *[None] * 499]
    trial.clock.pass_(9.9)
    assert trial.ask("b") == 2
    trial.clock.pass_(0.1)
    trial.calls.wait_for(3)
    assert trial.calls.keys == ["a", "b", "a"]
    assert trial.ask("a") is None  # the second call began an interval of its own


def test_after_a_quiet_interval_a_key_is_called_at_once() -> None:
    trial = Trial()
    assert trial.ask("a") == 1
    trial.clock.pass_(10)
    assert trial.ask("a") == 2


def test_a_slow_call_is_never_doubled_and_what_came_meanwhile_is_not_lost() -> None:
    trial = Trial(blocked=True)
    trial.debounce.ask("a")
    trial.calls.wait_for(1)
    assert [trial.debounce.ask("a") for _ in range(50)] == [None] * 50
    trial.clock.pass_(100)
    assert trial.calls.keys == ["a"]
    trial.calls.go.set()
    trial.calls.wait_for(2)
    assert trial.calls.max_at_once == 1


def test_keys_do_not_wait_for_one_another() -> None:
    trial = Trial(blocked=True)
    started = [trial.debounce.ask(key) for key in ("a", "b")]
    trial.calls.wait_for(2)
    trial.calls.go.set()
    assert all(future is not None and future.result(SECONDS) for future in started)


def test_quiet_keys_are_forgotten() -> None:
    trial = Trial()
    for number in range(100):
        trial.ask(str(number))
    trial.clock.pass_(10)
    assert len(trial.debounce) == 0


def test_beyond_its_bound_a_new_key_is_refused_and_a_known_one_is_not() -> None:
    trial = Trial(max_keys=3)
    assert [trial.ask(key) is None for key in ("a", "b", "c", "d", "a")] == [False, False, False, True, True]
    assert trial.refused == ["d"]
    trial.clock.pass_(10)
    trial.calls.wait_for(4)  # "a" once more
    assert trial.ask("d") is not None


class ScarceThreads(ClockedThreads):
    """There is no thread for the clock while `scarce`."""

    scarce = True

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        if self.scarce:
            raise RuntimeError("can't start new thread")
        super().later(seconds, call)


def test_a_key_is_not_lost_for_ever_where_there_was_no_thread_for_its_interval() -> None:
    calls, threads = Calls(), ScarceThreads()
    debounce = Debounce(calls, threads, interval=10, at_once=4, on_full=calls.keys.append)
    with pytest.raises(RuntimeError):
        debounce.ask("a")
    assert len(debounce) == 0
    threads.scarce = False
    future = debounce.ask("a")
    assert future is not None
    assert future.result(SECONDS) == 1


def test_an_unexpected_error_is_logged_although_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    def fail(key: str) -> None:
        raise ZeroDivisionError(key)

    asked = Debounce(fail, ClockedThreads(), interval=10, at_once=1, on_full=print).ask("a")
    assert asked is not None
    assert isinstance(asked.exception(10), ZeroDivisionError)
    assert [record.__dict__["key"] for record in caplog.records] == ["a"]
