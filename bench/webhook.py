"""Time to answer a webhook, compared with a bare functions-framework echo: `python -m bench.webhook --json FILE`.

Events of five projects, each over a new connection, as Label Studio sends them. Label Studio's API is a stand-in that
takes 30 ms for each of train_trigger's two requests.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.table import show_sections
from infra.local.processes import LOOPBACK, Child, choose_port
from shared.objectstore import open_store
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord, LastRun
from shared.state.runs import Baseline, Totals

REPOSITORY = Path(__file__).resolve().parents[1]
RECORDED = REPOSITORY / "tests" / "contract" / "requests" / "webhook_annotation_created.json"
PROJECTS = range(1, 6)
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
_LATENCY = 0.03  # seconds of Label Studio's API, for each request
_SENDERS = 50
_TARGET_MS = 100.0
_ECHO = "def echo(request):\n    return request.get_data()\n"


class LabelStudioStandIn(BaseHTTPRequestHandler):
    """Label Studio's API: projects with forty annotated tasks, one of them changed, so that no training starts."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """`/api/projects/<id>` and `/api/tasks`."""
        time.sleep(_LATENCY)
        path = urlsplit(self.path).path
        counters = {"num_tasks_with_annotations": 40, "total_annotations_number": 40}
        answer: dict[str, Any] = {"total": 1, "tasks": []}
        if path.startswith("/api/projects/"):
            answer = {"id": int(path.rsplit("/", 1)[1]), "created_at": CREATED.isoformat(), **counters}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def main() -> None:
    """Measure both, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=100, help="events a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each of the two measurements")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    events = _events()
    with tempfile.TemporaryDirectory() as scratch:
        with _echo(Path(scratch)) as port:
            bare = _measure(port, "/", events, options.rate, options.seconds)
        with _trigger(Path(scratch)) as port:
            ours = _measure(port, "/webhook", events, options.rate, options.seconds)
    report = {
        "webhook": ours,
        "bare functions-framework": bare,
        "ratio": {
            "median": ours["p50 ms"] / bare["p50 ms"],
            "p99": ours["p99 ms"] / bare["p99 ms"],
            "target p99 ms": _TARGET_MS,
        },
    }
    show_sections(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


def _events() -> list[bytes]:
    body = json.loads(RECORDED.read_text())["body"]
    return [
        json.dumps(body | {"project": body["project"] | {"id": number, "created_at": CREATED.isoformat()}}).encode()
        for number in PROJECTS
    ]


def _measure(port: int, path: str, events: list[bytes], rate: int, seconds: float) -> dict[str, float]:
    """Send at a fixed rate, however long answers take. Times are for one event with its connection."""

    def send(body: bytes, at: float) -> float:
        time.sleep(max(0.0, at - time.perf_counter()))
        started = time.perf_counter()
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        if status >= 300:
            raise SystemExit(f"{path} answered {status}")
        return (time.perf_counter() - started) * 1000

    begin = time.perf_counter() + 0.5
    count = int(rate * seconds)
    with ThreadPoolExecutor(_SENDERS) as senders:
        bodies = [events[number % len(events)] for number in range(count)]
        times = sorted(senders.map(send, bodies, [begin + number / rate for number in range(count)]))
    return {
        "events": count,
        "events a second": count / (time.perf_counter() - begin),
        "p50 ms": statistics.median(times),
        "p99 ms": times[int(count * 0.99)],
        "longest ms": times[-1],
    }


@contextmanager
def _trigger(scratch: Path) -> Iterator[int]:
    """Run train_trigger with projects that were trained before; yields its port."""
    server = ThreadingHTTPServer((LOOPBACK, 0), LabelStudioStandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = open_store((scratch / "store").as_uri())
    totals = Totals(total_annotations_number=40, num_tasks_with_annotations=40)
    last_run = LastRun(run_id="run-1", outcome="promoted", ended_at=CREATED)
    record = JobsRecord(baseline=Baseline(totals=totals, read_at=CREATED), last_run=last_run)
    for number in PROJECTS:
        Jobs(store, f"{number}.{int(CREATED.timestamp())}").update(lambda _, __: record)
    environ = {
        "LABEL_STUDIO_URL": f"http://{LOOPBACK}:{server.server_port}",
        "LABEL_STUDIO_API_KEY": "a" * 40,
        "LABELLOOP_STORE": store.url,
        "LABELLOOP_WORK_DIR": str(scratch / "work"),
    }
    source = REPOSITORY / "functions" / "train_trigger" / "main.py"
    with _function(source, "train_trigger", scratch, environ) as port:
        yield port
    server.shutdown()
    server.server_close()


@contextmanager
def _echo(scratch: Path) -> Iterator[int]:
    source = scratch / "echo.py"
    source.write_text(_ECHO)
    with _function(source, "echo", scratch, {}) as port:
        yield port


@contextmanager
def _function(source: Path, target: str, scratch: Path, environ: dict[str, str]) -> Iterator[int]:
    port = choose_port()
    command = [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", target]
    environ = {"PATH": os.defpath, "HOST": LOOPBACK, "PORT": str(port), **environ}
    child = Child(target, command, scratch / f"{target}.log", environ=environ)
    try:
        child.wait_until_healthy(f"http://{LOOPBACK}:{port}/health", 60.0, print)
        yield port
    finally:
        child.stop()


if __name__ == "__main__":
    main()
