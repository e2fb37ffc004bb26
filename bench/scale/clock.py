"""Virtual time for blocking code: every thread is a greenlet, one runs at a time, and the clock jumps ahead.

The code under test is the real one and blocks as usual: in `sleep`, in a future's `result`, in a request. A simulation
takes only its CPU time, and the same seed gives the same run.
"""

import functools
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from greenlet import getcurrent, greenlet


class _Ticket:
    """One event that happens once: a greenlet continues, or a function is called."""

    __slots__ = ("call", "used", "woken")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.used = False
        self.woken = False  # by `wake`, not by its timeout


class Clock:
    """The virtual clock and its events; make it on the greenlet that will call `run`."""

    def __init__(self) -> None:
        self.now = 0.0  # seconds
        self._due: list[tuple[float, int, _Ticket]] = []
        self._order = itertools.count()
        self._hub = getcurrent()

    def monotonic(self) -> float:
        """The virtual time in seconds."""
        return self.now

    def run(self, until: float) -> None:
        """Run all events up to `until` (seconds). Errors of greenlets are raised here."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, ticket = heapq.heappop(due)
            if not ticket.used:
                ticket.used = True
                ticket.call()
        self.now = until

    def sleep(self, seconds: float) -> None:
        """Block the current greenlet."""
        self._push(self.now + seconds, _Ticket(getcurrent().switch))
        self._hub.switch()

    def later(self, seconds: float, call: Callable[[], Any]) -> None:
        """Call `call`, which must not block, after `seconds`."""
        self._push(self.now + seconds, _Ticket(call))

    def spawn(self, call: Callable[..., Any], *args: Any, after: float = 0.0) -> None:
        """Run `call` as a greenlet, `after` seconds from now."""
        self.later(after, greenlet(functools.partial(call, *args), self._hub).switch)

    def park(self, waiting: deque[_Ticket], timeout: float | None = None) -> bool:
        """Queue in `waiting` and block until `wake`; False if `timeout` seconds passed first."""
        ticket = _Ticket(getcurrent().switch)
        waiting.append(ticket)
        if timeout is not None:
            self._push(self.now + timeout, ticket)
        self._hub.switch()
        return ticket.woken

    def wake(self, waiting: deque[_Ticket]) -> bool:
        """Let the first in the queue continue; False if it is empty."""
        while waiting:
            ticket = waiting.popleft()
            if not ticket.used and not ticket.woken:
                ticket.woken = True
                self._push(self.now, ticket)
                return True
        return False

    def park_for_ever(self) -> None:
        """Block for ever: the end of a killed process."""
        self._hub.switch()

    def _push(self, at: float, ticket: _Ticket) -> None:
        heapq.heappush(self._due, (at, next(self._order), ticket))


class Gate:
    """A semaphore with a queue."""

    def __init__(self, clock: Clock, count: int) -> None:
        self._clock = clock
        self._free = count
        self._waiting: deque[_Ticket] = deque()

    def enter(self, timeout: float | None = None) -> bool:
        """Wait for a place; False if none became free within `timeout` seconds."""
        if self._free:
            self._free -= 1
            return True
        return self._clock.park(self._waiting, timeout)

    def leave(self) -> None:
        """Free the place for the next in the queue."""
        if not self._clock.wake(self._waiting):
            self._free += 1

    def __len__(self) -> int:
        """Number of waiting greenlets."""
        return len(self._waiting)


class Core:
    """One CPU core of a process, first come, first served. `work` and `check` never return in a killed process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_at = 0.0
        self.busy = 0.0  # seconds
        self.killed = False

    def work(self, seconds: float, then: float = 0.0) -> None:
        """Block for `seconds` on this core, after earlier work, and `then` more elsewhere."""
        now = self._clock.now
        self._free_at = max(self._free_at, now) + seconds
        self.busy += seconds
        self._clock.sleep(self._free_at - now + then)
        self.check()

    def check(self) -> None:
        """Block for ever if the process was killed."""
        if self.killed:
            self._clock.park_for_ever()


class _Future(Future[Any]):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            waiting: deque[_Ticket] = deque()
            self.add_done_callback(lambda _: self._clock.wake(waiting))
            if not self._clock.park(waiting, timeout):
                raise TimeoutError
        return super().result(0)


class _Pool(Executor):
    def __init__(self, clock: Clock, count: int) -> None:
        self._clock = clock
        self._free = count
        self._tasks: deque[tuple[_Future, Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _Future:
        future = _Future(self._clock)
        self._tasks.append((future, functools.partial(fn, *args, **kwargs)))
        if self._free:
            self._free -= 1
            self._clock.spawn(self._work)
        return future

    def _work(self) -> None:
        while self._tasks:
            future, call = self._tasks.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  (raised by `result`)
                future.set_exception(error)
        self._free += 1


class VirtualThreads:
    """`functions.train_trigger.threads.Threads` in virtual time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic, self.later = clock.monotonic, clock.later

    def pool(self, count: int, name: str) -> Executor:  # noqa: ARG002
        """See Threads.pool."""
        return _Pool(self._clock, count)
