"""AWS Lambda's Runtime API with one function behind it: the function's own runtime client runs against it.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from queue import Queue
from typing import Any

_PATIENCE = 20.0  # seconds for an answer: only a broken function takes that long
_ROOT = Path(__file__).parents[2]


class LambdaFunction:
    """A function that waits for events."""

    def __init__(self) -> None:
        self._events: Queue[tuple[str, dict[str, Any]]] = Queue()
        self._answers: Queue[tuple[str, Any]] = Queue()
        self._ids = count()

    def invoke(self, event: dict[str, Any]) -> Any:
        """What the handler answered. Raises RuntimeError with Lambda's words if it failed."""
        self._events.put((f"request-{next(self._ids)}", event))
        kind, answer = self._answers.get(timeout=_PATIENCE)
        if kind != "response":
            raise RuntimeError(f"{answer['errorType']}: {answer['errorMessage']}")
        return answer

    def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: str = "") -> Any:
        """A request to the Function URL, as it arrives (payload format 2.0)."""
        return self.invoke(
            {
                "version": "2.0",
                "rawPath": path,
                "rawQueryString": "",
                "headers": {"content-type": "application/json", **(headers or {})},
                "requestContext": {"http": {"method": method, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}},
                "isBase64Encoded": False,
            }
            | ({"body": body} if body else {})
        )

    def next(self) -> tuple[str, dict[str, Any]]:
        """The runtime client's question; waits for an event."""
        return self._events.get()

    def answered(self, kind: str, body: Any) -> None:
        """The runtime client's answer: `response` or `error`."""
        self._answers.put((kind, body))


@contextmanager
def lambda_function(handler: str, environ: Mapping[str, str]) -> Iterator[LambdaFunction]:
    """Start `python -m awslambdaric <handler>` with this environment; kill it afterwards, as Lambda does."""
    function = LambdaFunction()

    class RuntimeApi(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(ConnectionResetError):  # the function was killed
                super().handle()

        def do_GET(self) -> None:
            request_id, event = function.next()
            body = json.dumps(event).encode()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
            self.send_header("Content-Type", "application/json")
            self.send_header("Lambda-Runtime-Deadline-Ms", "99999999999999")
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:light")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            function.answered(self.path.rpartition("/")[2], body)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", handler],
        cwd=_ROOT,
        env={**environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"},
    )

    def watch() -> None:
        function.answered("end", {"errorType": "Runtime.ExitError", "errorMessage": f"exit code {process.wait()}"})

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield function
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()
