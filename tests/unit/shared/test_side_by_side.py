"""Parallel calls: results in order, errors raised, and fewer threads if the machine has no more."""

import threading

import pytest

from shared.errors import StoreError
from shared.side_by_side import side_by_side


def test_answers_come_in_order_and_all_are_under_way_at_once() -> None:
    met = threading.Barrier(20, timeout=10)

    def ask(number: int) -> int:
        met.wait()
        return number * number

    assert side_by_side(ask, range(20)) == [number * number for number in range(20)]


def test_never_more_at_once_than_allowed() -> None:
    lock, under_way, most = threading.Lock(), 0, 0
    met = threading.Barrier(3, timeout=10)

    def ask(number: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        met.wait()
        with lock:
            under_way -= 1

    side_by_side(ask, range(9), at_once=3)
    assert most == 3


@pytest.mark.parametrize("count", [0, 1])
def test_no_thread_is_started_for_one_question(count: int) -> None:
    assert side_by_side(lambda _: threading.current_thread(), range(count)) == [threading.current_thread()] * count


def test_the_first_error_in_order_is_raised_once_all_have_ended() -> None:
    ended = []

    def ask(number: int) -> None:
        ended.append(number)
        if number in (2, 5):
            raise StoreError(str(number))

    with pytest.raises(StoreError, match="2"):
        side_by_side(ask, range(8))
    assert sorted(ended) == list(range(8))


def test_without_threads_the_caller_asks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert side_by_side(lambda number: number + 1, range(5)) == [1, 2, 3, 4, 5]
