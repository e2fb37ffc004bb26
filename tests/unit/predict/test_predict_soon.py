"""What is made on a thread of its own, while nobody needs it yet."""

import threading

import pytest

from functions.predict.soon import Soon


def test_it_is_made_once_on_another_thread() -> None:
    threads: list[threading.Thread] = []

    def make() -> int:
        threads.append(threading.current_thread())
        return len(threads)

    soon = Soon(make)
    assert [soon.begin().result(10), soon.begin().result(10)] == [1, 1]
    assert threads != [threading.current_thread()]


def test_what_failed_is_tried_again() -> None:
    tries = iter([MemoryError("now"), None])

    def make() -> str:
        if error := next(tries):
            raise error
        return "made"

    soon = Soon(make)
    with pytest.raises(MemoryError):
        soon.begin().result(10)
    assert soon.begin().result(10) == "made"
