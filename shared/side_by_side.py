"""Parallel calls, on threads, of functions that wait for a network."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

Item = TypeVar("Item")
Got = TypeVar("Got")
First = TypeVar("First")
Second = TypeVar("Second")

AT_ONCE = 24
"""Threads of one caller, so that it does not take all 64 connections of a store's client."""


def side_by_side(ask: Callable[[Item], Got], items: Iterable[Item], *, at_once: int = AT_ONCE) -> list[Got]:
    """`[ask(item) for item in items]`, with at most `at_once` calls at a time, one of them on the calling thread.

    If calls fail, raises the error of the first such item, after all calls have ended. If the machine has no free
    thread, the threads that could be started do all calls.
    """
    asked: list[tuple[Item, Future[Got]]] = [(item, Future()) for item in items]
    waiting = deque(asked)

    def work() -> None:
        while waiting:
            try:
                item, answer = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                answer.set_result(ask(item))
            except BaseException as error:  # noqa: BLE001 - raised by result() below
                answer.set_exception(error)

    with suppress(RuntimeError):
        for _ in range(min(len(asked), at_once) - 1):
            threading.Thread(target=work, name="side-by-side", daemon=True).start()
    work()
    return [answer.result() for _, answer in asked]


def both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """The results of two functions, called in parallel."""
    questions: list[Callable[[], Any]] = [first, second]
    one, other = side_by_side(lambda question: question(), questions)
    return one, other
