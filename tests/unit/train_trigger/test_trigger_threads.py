"""Calls that are due later, on the process's own clock."""

import queue
import threading
from functools import partial

import pytest

from functions.train_trigger.threads import ProcessThreads

SECONDS = 20


def test_what_is_due_first_is_called_first_on_one_thread() -> None:
    called: queue.Queue[tuple[str, threading.Thread]] = queue.Queue()

    def note(name: str) -> None:
        called.put((name, threading.current_thread()))

    threads = ProcessThreads()
    for name, seconds in (("in an hour", 3600.0), ("now", 0.0), ("now too", 0.0)):
        threads.later(seconds, partial(note, name))
    (first, one), (second, other) = called.get(timeout=SECONDS), called.get(timeout=SECONDS)
    assert (first, second) == ("now", "now too")
    assert one is other


def test_thousands_of_waiting_calls_need_no_thread_each() -> None:
    threads, before = ProcessThreads(), threading.active_count()
    for _ in range(5000):
        threads.later(3600, lambda: None)
    assert threading.active_count() <= before + 1


def test_a_call_may_ask_for_another_one() -> None:
    threads, done = ProcessThreads(), threading.Event()
    threads.later(0, lambda: threads.later(0, done.set))
    assert done.wait(SECONDS)


def test_where_there_is_no_thread_to_give_the_next_call_tries_again() -> None:
    threads, never, done = ProcessThreads(), threading.Event(), threading.Event()
    threading.stack_size(1 << 46)  # more than any machine has
    try:
        with pytest.raises(RuntimeError):
            threads.later(0, never.set)
    finally:
        threading.stack_size(0)
    threads.later(0, done.set)
    assert done.wait(SECONDS)
    assert not never.is_set()
