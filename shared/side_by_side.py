"""Questions to somebody who is some way off, asked side by side: many trips take the time of one."""

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

_AT_ONCE = 24
"""Of the connections that a store's client keeps (64) one caller takes no more than that."""


def side_by_side(ask: Callable[[Item], Got], items: Iterable[Item], *, at_once: int = _AT_ONCE) -> list[Got]:
    """The answers in the order of `items`, of at most `at_once` calls at a time, one of them on the calling thread.

    Raises what the first of those that failed raised, once all have ended. Where this machine has no thread to give,
    those that there are do it.
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
            except BaseException as error:  # noqa: BLE001 - raised where the answers are wanted
                answer.set_exception(error)

    with suppress(RuntimeError):
        for _ in range(min(len(asked), at_once) - 1):
            threading.Thread(target=work, name="side-by-side", daemon=True).start()
    work()
    return [answer.result() for _, answer in asked]


def both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """The answers to two questions of different kinds, asked side by side."""
    questions: list[Callable[[], Any]] = [first, second]
    one, other = side_by_side(lambda question: question(), questions)
    return one, other
