"""train_trigger under functions-framework: real processes, real HTTP, and a stand-in for the training job."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.state.jobs import Jobs
from tests.servers.trigger_process import Place, eventually

CREATED = "2026-01-01T00:00:00Z"
UID = f"1.{int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())}"
EVENT = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "created_at": CREATED}}


class FakeLabelStudio(BaseHTTPRequestHandler):
    """The two routes that the trigger asks; forty annotated tasks, nothing changed since."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        project = '{"id": 1, "created_at": "%s", "num_tasks_with_annotations": 40, "total_annotations_number": 40}'
        body = (project % CREATED if self.path == "/api/projects/1" else '{"total": 0, "tasks": []}').encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeLabelStudio)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = Place(tmp_path, f"http://127.0.0.1:{server.server_port}", "a" * 40)
    yield place
    place.finish()
    server.shutdown()
    server.server_close()


def test_a_thousand_events_at_two_functions_on_one_store_start_one_run(place: Place) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(16) as annotators:
        triggers = [stack.enter_context(place.function()) for _ in range(2)]
        answers = list(annotators.map(lambda number: triggers[number % 2].event(EVENT), range(1000)))
        assert {answer.status_code for answer in answers} <= {200, 202}
        place.running(UID)
        # Each function looks once more at the end of an interval in which events came.
        for trigger in triggers:
            eventually(
                lambda trigger=trigger: trigger.count("labelloop_reconciles_total") >= 2, "the last look of the burst"
            )
        assert len(place.starts()) == 1
        assert sum(trigger.count("labelloop_launches_total") for trigger in triggers) == 1

        record = place.finish_run(UID)
        assert record.last_run is not None
        assert [record.last_run.run_id] == [start.partition(".")[0] for start in place.starts()]

        for trigger in triggers:  # late and doubled events of what this run has seen
            before = trigger.count("labelloop_reconciles_total")
            for _ in range(50):
                trigger.event(EVENT)
            eventually(
                lambda trigger=trigger, before=before: trigger.count("labelloop_reconciles_total") > before,
                "a look after the late events",
            )
        assert len(place.starts()) == 1


def test_a_killed_job_is_relaunched_by_the_sweep_until_its_attempts_are_used_up(place: Place) -> None:
    with place.function(LABELLOOP_ATTEMPTS="2") as trigger:
        assert trigger.event(EVENT).status_code in (200, 202)
        first = place.running(UID)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: trigger.sweep()["outcomes"].get("relaunched"), "the sweep relaunches")
        second = place.running(UID)
        runs = [start.partition(".")[0] for start in place.starts()]
        assert second != first
        assert len(runs) == 2
        assert len(set(runs)) == 1
        assert trigger.sweep()["outcomes"] == {"active": 1}  # it lives: nothing to do

        os.kill(second, signal.SIGKILL)
        eventually(lambda: trigger.sweep()["outcomes"].get("given_up"), "the last attempt was used up")
        record = Jobs(place.store, UID).read()
        assert record.training is None
        assert record.last_run is not None
        assert record.last_run.outcome == "failed"
        assert record.baseline is None, "what it was started for is due again"
        assert len(place.starts()) == 2


def test_a_function_that_was_started_again_knows_the_job_and_sees_it_die(place: Place) -> None:
    with place.function() as trigger:
        trigger.event(EVENT)
        job = place.running(UID)
    with place.function() as trigger:
        assert trigger.sweep()["outcomes"] == {"active": 1}
        os.kill(job, signal.SIGKILL)
        eventually(lambda: trigger.sweep()["outcomes"].get("relaunched"), "the sweep relaunches")
        second = place.running(UID)
        assert second != job

        (stopped,) = trigger.ask("/stop", {"project": UID}).json()["stopped"]
        assert stopped["reason"] == "stopped by somebody, with `labelloop stop`"
        eventually(lambda: not Path(f"/proc/{second}").exists(), "the job has ended")
        assert trigger.sweep()["outcomes"] == {"nothing": 1}, "it is not started again by itself"
        assert trigger.ask("/train", {"project": UID}).json()["status"] == "launched"


def test_predict_is_handed_to_the_other_function_or_says_what_to_set(place: Place) -> None:
    with place.function() as trigger:
        refused = trigger.ask("/predict", {"tasks": []})
        assert refused.status_code == 503
        assert "PREDICT_URL" in refused.json()["error"]
        with place.function(PREDICT_URL=trigger.url, LABELLOOP_PREDICT_DEADLINE="1") as other:
            answer = other.ask("/predict", {"tasks": [{"id": 1}]})  # it is refused until the deadline
            assert (answer.status_code, answer.json()) == (200, {"results": [[]]})
