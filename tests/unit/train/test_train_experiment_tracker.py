"""The tracker's thread: order, outages, and the end of the job."""

import threading
from collections.abc import Mapping

from jobs.train.checkpoints.spool import Epoch
from jobs.train.experiment_tracker import BackgroundTracker, Status, TrackerDown, TrackerRefused


class Client:
    """Notes what it is sent; each error of `failures` is raised once, before anything is noted."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent: list[object] = []
        self.hang: threading.Event | None = None

    def _take(self, *what: object) -> None:
        if self.hang:
            self.hang.wait(30)
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(what)

    def open_run(self, experiment: str, name: str, tags: Mapping[str, str], same: tuple[str, ...]) -> str:
        self._take("open", experiment, name)
        return "7"

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        self._take("params", run_id, dict(params))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        self._take("metrics", run_id, step, dict(metrics))

    def tag(self, run_id: str, name: str, tags: Mapping[str, str]) -> None:
        self._take("tag", run_id, name)

    def keep(self, run_id: str, name: str, data: bytes) -> None:
        self._take("keep", run_id, name)

    def end(self, run_id: str, status: Status) -> None:
        self._take("end", run_id, status)


def epoch(number: int, **metrics: float) -> Epoch:
    return Epoch(number, 3, metrics, best=False, finished_at=0.0)


def track(client: Client, seconds: float = 30.0) -> None:
    tracker = BackgroundTracker(client, "http://mlflow.test", pause=0.0)
    with tracker.run("1.2", "run-1", "label", {"seed": 0}) as tracked:
        for each in (epoch(1, mAP50=0.5), epoch(1, mAP50=0.5), epoch(2, mAP50=0.6, precision=float("nan"))):
            tracked.epoch(each)
    tracker.close(seconds)


ALL = [
    ("open", "labelloop/1.2", "label: run run-1"),
    ("params", "7", {"seed": 0}),
    ("metrics", "7", 1, {"epoch/mAP50": 0.5}),
    ("metrics", "7", 2, {"epoch/mAP50": 0.6}),
    ("end", "7", "FINISHED"),
]


def test_everything_once_and_in_order() -> None:
    client = Client()
    track(client)
    assert client.sent == ALL


def test_what_an_outage_held_up_is_sent_afterwards() -> None:
    client = Client(TrackerDown("away"))  # the last try, when the job has ended, may be the one that fails
    tracker = BackgroundTracker(client, "http://mlflow.test", pause=0.0)
    failed = threading.Event()
    with tracker.run("1.2", "run-1", "label", {"seed": 0}) as tracked:
        tracked.epoch(epoch(1, mAP50=0.5))
        while client.failures:
            failed.wait(0.01)
        tracked.epoch(epoch(2, mAP50=0.6))
    tracker.close(30)
    assert client.sent == ALL


def test_what_is_refused_is_left_out() -> None:
    client = Client()
    client.log_params = lambda run_id, params: (_ for _ in ()).throw(TrackerRefused("no"))  # type: ignore[method-assign]
    track(client)
    assert client.sent == [each for each in ALL if each[0] != "params"]


def test_of_a_run_that_is_refused_nothing_is_sent() -> None:
    client = Client(TrackerRefused("who?", status=401))
    track(client)
    assert client.sent == []


def test_the_job_does_not_wait_for_a_tracker_that_hangs() -> None:
    client = Client()
    client.hang = threading.Event()
    track(client, seconds=0.01)
    assert client.sent == []
    client.hang.set()


def test_how_a_training_ended() -> None:
    for error, status in ((ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")):
        client = Client()
        tracker = BackgroundTracker(client, "http://mlflow.test", pause=0.0)
        try:
            with tracker.run("1.2", "run-1", "label", {}):
                raise error
        except (ValueError, KeyboardInterrupt):
            tracker.close(30)
        assert client.sent[-1] == ("end", "7", status)
