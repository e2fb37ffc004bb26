"""The signals that ask a job to end, and what they mean to people: a machine that goes away, or a person at it."""

import signal
from types import FrameType
from typing import NoReturn

BY_PERSON: int = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""Sent by `labelloop up` when it ends. Like SIGTERM, it ends a process that has no handler for it yet."""
_SIGNALS = (signal.SIGTERM, BY_PERSON)
TAKEN = "the machine asked the job to stop (SIGTERM)"
_BY_PERSON = "stopped with `labelloop up`, goes on at the next `labelloop up`"


class Stopped(BaseException):
    """A signal asks this process to end. A BaseException, so that no `except Exception` swallows it."""

    def __init__(self, why: str = TAKEN) -> None:
        super().__init__(why)


def raise_when_stopped() -> None:
    """Let the first of these signals raise Stopped, with a sentence for people; those after it are ignored."""
    for each in _SIGNALS:
        signal.signal(each, _stop)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one must not interrupt the clean-up
    raise Stopped(_BY_PERSON if number == BY_PERSON != signal.SIGTERM else TAKEN)
