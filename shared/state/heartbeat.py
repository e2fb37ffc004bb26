"""Renews the claim while the job works, and says whether the job still holds it."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)

from shared.errors import AlreadyExists, ClaimLost, NotFound, PreconditionFailed, StoreError, StoreRefusal
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
_LONGEST_OUTAGE = 3600.0  # seconds that one call waits for the store
_ANSWERS = (NotFound, AlreadyExists, PreconditionFailed, StoreRefusal)  # the store was reached


class Heartbeat:
    """Renews the claim on a thread of its own, every minute.

    During an outage of the store the attempt goes on: nobody else can take the claim either. If the store refuses (no
    permission), others may still reach it and take the claim once it has expired, so the attempt ends then.
    """

    def __init__(
        self,
        jobs: Jobs,
        claim: Claim,
        *,
        lifetime: float,
        longest_run: float,
        on_lost: Callable[[], None],
        on_renewed: Callable[[JobsRecord], None] = lambda _: None,
    ) -> None:
        """`lifetime` of the claim and `longest_run` in seconds.

        `on_lost` is called once, on the heartbeat's thread: when the claim is lost, or expired while the store refused.
        `on_renewed` is called with what each renewal wrote; it raises nothing.
        """
        self._jobs = jobs
        self._claim = claim
        self._lifetime = lifetime
        self._longest_run = longest_run
        self._on_lost = on_lost
        self._on_renewed = on_renewed
        self._interval = min(60.0, lifetime / 3)
        self._over = threading.Event()
        self._why: ClaimLost | StoreRefusal | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()

    def set_longest_run(self, longest_run: float) -> None:
        """Set the longest run in seconds, once the request of the run is known."""
        self._longest_run = longest_run

    @property
    def lost(self) -> bool:
        """Whether another attempt took the claim."""
        return isinstance(self._why, ClaimLost)

    def check(self) -> None:
        """Raise ClaimLost or StoreRefusal if the heartbeat ended with it. Does not call the store."""
        if self._why is not None:
            raise type(self._why)(str(self._why))

    def confirm(self) -> None:
        """Renew the claim before a write that others see; waits during an outage. Raises ClaimLost, StoreRefusal."""
        self.patiently(self._renew)

    def patiently(self, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `ask(*args, **kwargs)`, again and again while the store cannot be reached, for an hour at most.

        Raises the last error once the store refuses, the claim is lost or the hour is over.
        """
        self.check()
        retrying = Retrying(
            retry=retry_if_exception(_is_outage),
            wait=wait_random_exponential(0.2, max=30),
            stop=stop_any(stop_after_delay(_LONGEST_OUTAGE), stop_when_event_set(self._over)),
            before_sleep=_log_outage,
            reraise=True,
        )
        return retrying(ask, *args, **kwargs)

    def _beat(self) -> None:
        runs_out = time.monotonic() + self._lifetime
        while not self._done.wait(self._interval):
            try:
                self._renew()
            except ClaimLost as error:
                logger.warning(str(error), extra={"event": "claim_lost"})
                return self._end(error)
            except StoreError as error:
                logger.warning(f"the claim could not be renewed: {error}", extra={"event": "heartbeat_failed"})
                if isinstance(error, StoreRefusal) and time.monotonic() >= runs_out:
                    return self._end(error)
            else:
                runs_out = time.monotonic() + self._lifetime
        return None

    def _end(self, why: ClaimLost | StoreRefusal) -> None:
        self._why = why
        self._over.set()
        self._on_lost()

    def _renew(self) -> None:
        self._on_renewed(
            self._jobs.update(claims.renew, self._claim, lifetime=self._lifetime, longest_run=self._longest_run)
        )


def _is_outage(error: BaseException) -> bool:
    return isinstance(error, StoreError) and not isinstance(error, _ANSWERS)


def _log_outage(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning(f"the store does not answer, trying again: {error}", extra={"event": "store_outage"})
