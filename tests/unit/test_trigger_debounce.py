"""At most one call for a key in an interval, and none lost."""

import threading
import time

from functions.train_trigger import debounce
from functions.train_trigger.debounce import Debounce

SECONDS = 20


class Calls:
    """Counts calls; a call waits for `go` if `blocked`."""

    def __init__(self, *, blocked: bool = False) -> None:
        self.keys: list[str] = []
        self.at_once = self.most_at_once = 0
        self.go = threading.Event()
        if not blocked:
            self.go.set()
        self._news = threading.Condition()

    def __call__(self, key: str) -> int:
        with self._news:
            self.keys.append(key)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._news.notify_all()
        assert self.go.wait(SECONDS)
        with self._news:
            self.at_once -= 1
        return len(self.keys)

    def wait_for(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.keys) >= count, SECONDS), self.keys


def test_the_first_is_called_at_once_and_its_result_can_be_awaited() -> None:
    started = Debounce(Calls(), interval=60, threads=1).ask("a")
    assert started is not None
    assert started.result(SECONDS) == 1


def test_many_become_one_more_at_the_end_of_the_interval() -> None:
    calls = Calls()
    debounced = Debounce(calls, interval=0.2, threads=2)
    began = time.monotonic()
    answers = [debounced.ask("a") for _ in range(500)]
    assert sum(answer is not None for answer in answers) == 1
    calls.wait_for(2)
    assert time.monotonic() - began >= 0.2
    first = debounced.ask("b")
    assert first is not None
    first.result(SECONDS)
    assert calls.keys == ["a", "a", "b"]


def test_a_slow_call_is_never_doubled_and_what_came_meanwhile_is_not_lost() -> None:
    calls = Calls(blocked=True)
    debounced = Debounce(calls, interval=0, threads=4)
    debounced.ask("a")
    calls.wait_for(1)
    assert [debounced.ask("a") for _ in range(50)] == [None] * 50
    assert calls.keys == ["a"]
    calls.go.set()
    calls.wait_for(2)
    assert calls.most_at_once == 1


def test_keys_do_not_wait_for_one_another() -> None:
    calls = Calls(blocked=True)
    debounced = Debounce(calls, interval=60, threads=2)
    started = [debounced.ask(key) for key in ("a", "b")]
    calls.wait_for(2)
    calls.go.set()
    assert all(future is not None and future.result(SECONDS) for future in started)


def test_quiet_keys_are_forgotten() -> None:
    debounced = Debounce(Calls(), interval=0, threads=2)
    for number in range(debounce._KEPT_KEYS * 2):
        future = debounced.ask(str(number))
        assert future is not None
        future.result(SECONDS)
    assert len(debounced._keys) <= debounce._KEPT_KEYS + 2
