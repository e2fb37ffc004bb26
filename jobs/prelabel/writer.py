"""Stores predictions in batches on a thread of its own, while the next ones are computed."""

import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self

from jobs.prelabel.ports import Target

_BATCH = 100  # predictions
_BYTES = 4_000_000  # of a request, about: masks are large
_WAITING = 2  # batches that may wait for Label Studio


class Writer:
    """Not thread-safe. `stored` and `refused` count what Label Studio took and what it did not."""

    def __init__(self, target: Target, *, renewing: bool) -> None:
        """`renewing` as for `Target.store`."""
        self._store = partial(target.store, renewing=renewing)
        self._pool = ThreadPoolExecutor(1, "store")
        self._under_way: deque[tuple[int, Future[int]]] = deque()
        self._batch: list[dict[str, Any]] = []
        self._bytes = 0
        self.stored, self.refused = 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def add(self, task: int, prediction: dict[str, Any]) -> None:
        """Store a prediction soon. Raises what storing an earlier one raised."""
        self._batch.append({"task": task, **prediction})
        self._bytes += len(json.dumps(prediction))
        if len(self._batch) == _BATCH or self._bytes >= _BYTES:
            self._send()

    def finish(self) -> None:
        """Store what is left, and wait. Raises as `add`."""
        if self._batch:
            self._send()
        self._settle(0)

    def _send(self) -> None:
        self._settle(_WAITING)
        batch: Sequence[dict[str, Any]] = self._batch
        self._under_way.append((len(batch), self._pool.submit(self._store, batch)))
        self._batch, self._bytes = [], 0

    def _settle(self, waiting: int) -> None:
        while len(self._under_way) > waiting:
            sent, storing = self._under_way.popleft()
            stored = storing.result()
            self.stored += stored
            self.refused += sent - stored
