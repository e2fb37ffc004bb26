"""Writes runs to an experiment tracker, beside the training and never in its way.

A thread of its own sends what happens, in order. While the tracker is down it waits and tries again; what it has not
taken when the job ends is dropped. One warning is logged, whatever goes wrong.
"""

import logging
import math
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from jobs.train.checkpoints.spool import Epoch
from shared.errors import LabelloopError
from shared.state.versions import Manifest

logger = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
_PAUSE = 15.0  # seconds after which a tracker that was down is tried again


class TrackerDown(LabelloopError):
    """The tracker does not answer for now."""


class TrackerRefused(LabelloopError):
    """The tracker does not take this, and would not later."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status  # HTTP


class Client(Protocol):
    """A tracker, as `jobs.train.mlflow` has it. Methods raise TrackerDown and TrackerRefused."""

    def open_run(self, experiment: str, name: str, tags: Mapping[str, str], same: tuple[str, ...]) -> str: ...
    def log_params(self, run_id: str, params: Mapping[str, object]) -> None: ...
    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, step: int, at: float) -> None: ...
    def tag(self, run_id: str, name: str, tags: Mapping[str, str]) -> None: ...
    def keep(self, run_id: str, name: str, data: bytes) -> None: ...
    def end(self, run_id: str, status: Status) -> None: ...


class Tracked(Protocol):
    """One control of one run, as it is trained. No method waits or raises."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch ended. To be called for each, in order; one that was told before is ignored."""

    def published(self, manifest: Manifest, report: bytes) -> None:
        """The version is published. `report`: HTML."""


class Tracker(Protocol):
    """Where runs are written."""

    def run(self, uid: str, run_id: str, control: str, params: Mapping[str, Any]) -> AbstractContextManager[Tracked]:
        """A block in which a control is trained, again by the next attempt. `params`: what is known before."""

    def close(self, seconds: float) -> None:
        """Send what is left, for so long at most."""


class NoTracker:
    """A Tracker that writes nothing."""

    def run(self, uid: str, run_id: str, control: str, params: Mapping[str, Any]) -> "NoTracker":  # noqa: ARG002
        return self

    def close(self, seconds: float) -> None:
        pass

    def epoch(self, epoch: Epoch) -> None:
        pass

    def published(self, manifest: Manifest, report: bytes) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class BackgroundTracker:
    """A Tracker that writes to a client, on a thread."""

    def __init__(self, client: Client, address: str, *, pause: float = _PAUSE) -> None:
        """`address`: for the warning."""
        self._client = client
        self._address = address
        self._pause = pause
        self._warned = False
        self._closing = threading.Event()
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    def run(self, uid: str, run_id: str, control: str, params: Mapping[str, Any]) -> "_Run":
        return _Run(self._client, self._todo.put, uid, run_id, control, params)

    def close(self, seconds: float) -> None:
        self._closing.set()
        self._todo.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._warn("it does not answer")

    def _work(self) -> None:
        while (send := self._todo.get()) is not None:
            while True:
                last = self._closing.is_set()
                try:
                    send()
                except TrackerDown as error:
                    self._warn(str(error))
                    if last:
                        return
                    self._closing.wait(self._pause)
                    continue
                except TrackerRefused as error:
                    self._warn(str(error))
                except (AttributeError, LookupError, TypeError, ValueError) as error:
                    self._warn(f"it does not answer as MLflow does ({type(error).__name__}: {error})")
                break

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                f"LABELLOOP_TRACKING_URI={self._address}: not all of this run is written there: {why}",
                extra={"event": "tracking_failed"},
            )


class _Run:
    """See Tracked."""

    def __init__(
        self,
        client: Client,
        send: Callable[[Callable[[], None]], None],
        uid: str,
        run_id: str,
        control: str,
        params: Mapping[str, Any],
    ) -> None:
        self._client = client
        self._send = send
        self._of = {"labelloop.run": run_id, "labelloop.control": control, "labelloop.project": uid}
        self._params = params
        self._id: str | None = None
        self._last_epoch = 0

    def __enter__(self) -> Self:
        of, params = self._of, self._params

        def begin() -> None:
            self._id = self._client.open_run(
                f"labelloop/{of['labelloop.project']}",
                f"{of['labelloop.control']}: run {of['labelloop.run']}",
                of,
                ("labelloop.run", "labelloop.control"),
            )

        self._send(begin)
        self._later(lambda run_id: self._client.log_params(run_id, params))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status: Status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
        self._later(lambda run_id: self._client.end(run_id, status))

    def epoch(self, epoch: Epoch) -> None:
        if epoch.number <= self._last_epoch:
            return
        self._last_epoch = epoch.number
        found = {f"epoch/{name}": value for name, value in epoch.metrics.items() if math.isfinite(value)}
        self._later(lambda run_id: self._client.log_metrics(run_id, found, step=epoch.number, at=epoch.finished_at))

    def published(self, manifest: Manifest, report: bytes) -> None:
        client, name = self._client, f"{manifest.control}:v{manifest.version}"
        tags = {
            "labelloop.version": f"v{manifest.version}",
            "labelloop.gate": "passed" if manifest.gate.passed else "held back",
            "mlflow.note.content": manifest.gate.reason,
        }
        at = manifest.created_at.timestamp()
        self._later(lambda run_id: client.tag(run_id, name, tags))
        self._later(lambda run_id: client.log_metrics(run_id, _metrics(manifest), step=self._last_epoch, at=at))
        self._later(lambda run_id: client.log_params(run_id, _learnt(manifest)))
        self._later(lambda run_id: client.keep(run_id, "manifest.json", manifest.to_json()))
        self._later(lambda run_id: client.keep(run_id, "report.html", report))

    def _later(self, what: Callable[[str], None]) -> None:
        """Nothing is sent for a run that the tracker did not take."""
        self._send(lambda: what(self._id) if self._id is not None else None)


def _metrics(manifest: Manifest) -> dict[str, float]:
    """Those of the version, and the gate's."""
    gate = {"challenger": manifest.gate.challenger, "champion": manifest.gate.champion, "worse": manifest.gate.worse}
    return {f"version/{name}": value for name, value in manifest.metrics.items()} | {
        f"gate/{name}": value for name, value in gate.items() if value is not None
    }


def _learnt(manifest: Manifest) -> dict[str, object]:
    """What the version learnt from and came of, from its lineage."""
    lineage = manifest.lineage
    found = {"yolo task": manifest.yolo_task, "labels": ", ".join(manifest.labels)}
    names = ("base", "base_sha256", "mean_with", "data_sha256", "passes")
    found |= {name: lineage[name] for name in names if name in lineage}
    found |= {f"{name} trained with": lineage[name] for name in ("epochs", "batch") if name in lineage}
    for part in ("images", "things", "packages"):
        found |= {f"{part}/{name}": value for name, value in dict(lineage.get(part) or {}).items()}
    return dict(found)
