"""Parts of the benchmark of predict: photographs, a slow image server, versions in a store, and the function itself."""

import asyncio
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from infra.local.label_studio import REPOSITORY
from infra.local.processes import LOOPBACK, Child, choose_port
from shared.objectstore import ObjectStore
from shared.state.registry import Registry
from shared.state.versions import GRAPH, Gate, Manifest
from shared.yolo_task import YoloTask

UID = "1.1700000000"
_CONTROL = (
    '<View><Image name="image" value="$image"/><{tag} name="label" toName="image"><Label value="Tree"/></{tag}></View>'
)
LABEL_CONFIGS: dict[YoloTask, str] = {
    "detect": _CONTROL.format(tag="RectangleLabels"),
    "segment": _CONTROL.format(tag="BrushLabels"),
}
SIZE = (1280, 720)  # width, height in pixels
_POLL = 0.005  # seconds


def photographs(count: int) -> list[bytes]:
    """JPEG files of 1280×720 pixels: parts of ultralytics' two photographs."""
    import numpy as np
    from PIL import Image
    from ultralytics.utils import ASSETS

    sources = [Image.open(ASSETS / name).convert("RGB") for name in ("bus.jpg", "zidane.jpg")]
    random = np.random.default_rng(0)
    files = []
    for number in range(count):
        source = sources[number % len(sources)]
        width = int(source.width * random.uniform(0.6, 1.0))
        height = min(int(width * SIZE[1] / SIZE[0]), source.height)
        left = int(random.integers(0, source.width - width + 1))
        top = int(random.integers(0, source.height - height + 1))
        file = io.BytesIO()
        source.crop((left, top, left + width, top + height)).resize(SIZE).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


@contextmanager
def image_server(files: list[bytes]) -> Iterator[str]:
    """Serve `/<delay in ms>/<number>.jpg` from a process of its own; yields its address."""
    port = choose_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve_images, args=(files, port), daemon=True)
    process.start()
    try:
        wait_for(port, "/0/0.jpg")
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.terminate()
        process.join()


class Function:
    """One function under functions-framework, in processes of its own."""

    def __init__(self, source: Path, target: str, log: Path, **variables: str) -> None:
        """Starts it, and does not wait."""
        self.port = choose_port()
        command = [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", target]
        command += ["--host", LOOPBACK, "--port", str(self.port)]
        self._child = Child(target, command, log, environ=dict(os.environ) | {"HOST": LOOPBACK} | variables)

    def predict(
        self, urls: list[str], context: dict[str, Any] | None = None, yolo_task: YoloTask = "detect"
    ) -> tuple[float, list[Any]]:
        """(seconds, results) of one request. `context`: of a smart tool. Raises AssertionError if it fails."""
        tasks = [{"id": number, "data": {"image": url}} for number, url in enumerate(urls)]
        body = {
            "tasks": tasks,
            "project": UID,
            "label_config": LABEL_CONFIGS[yolo_task],
            "params": {"context": context},
        }
        started = time.perf_counter()
        status, answer = ask(self.port, "POST", "/predict", json.dumps(body))
        seconds = time.perf_counter() - started
        assert status == 200, answer[:500]
        return seconds, json.loads(answer)["results"]

    def memory(self) -> float:
        """MB of its processes; what they share is counted once."""
        import psutil

        master = psutil.Process(self._child.pid)
        shares = [process.memory_full_info().pss for process in (master, *master.children(recursive=True))]
        return float(sum(shares)) / 1e6

    def stop(self) -> None:
        """End it."""
        self._child.stop()


@contextmanager
def predict_function(folder: Path) -> Iterator[Function]:
    """functions/predict on the store and the cache in a folder; it need not answer yet."""
    function = Function(
        REPOSITORY / "functions" / "predict" / "main.py",
        "predict",
        folder / "predict.log",
        LABELLOOP_STORE=(folder / "store").as_uri(),
        LABELLOOP_CACHE_DIR=str(folder / "cache"),
        LABELLOOP_ALLOWED_PRIVATE_HOSTS=LOOPBACK,
    )
    try:
        yield function
    finally:
        function.stop()


def publish(store: ObjectStore, graph: Path, yolo_task: YoloTask = "detect") -> int:
    """A next version of the control with this graph, which the pointer names from now on; returns its number."""
    registry = Registry(store, UID)
    number = max(registry.numbers("label"), default=0) + 1
    other = graph.with_name(f"v{number}.onnx")  # other bytes, the same network: one more entry of metadata
    other.write_bytes(graph.read_bytes() + b"\x72\x06\x0a\x01n\x12\x01" + bytes([64 + number % 60]))
    entry = registry.upload_file("label", GRAPH, other)
    manifest = registry.publish(
        "label",
        lambda number: Manifest(
            version=number,
            control="label",
            yolo_task=yolo_task,
            labels=("Tree",),
            files=(entry,),
            metrics={},
            gate=Gate(metric="", challenger=None, champion=None, champion_version=None, passed=True, reason=""),
            lineage={},
            run_id=f"run-{number}",
            fence=number,
            created_at=datetime.now(UTC),
        ),
    )
    expected = number - 1 or None
    registry.promote("label", manifest.version, fence=number, run_id=manifest.run_id, expected=expected)
    return number


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """(status, body) of an answer."""
    connection = HTTPConnection(LOOPBACK, port, timeout=120.0)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for(port: int, path: str) -> None:
    """Until it answers 200. Raises AssertionError after a minute."""
    until = time.monotonic() + 60.0
    while True:
        try:
            if ask(port, "GET", path)[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < until, f"{path} does not answer"
        time.sleep(_POLL)


def _serve_images(files: list[bytes], port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (request := await reader.readline()).strip():
            while (await reader.readline()).strip():
                pass
            _, delay, name = request.split()[1].decode().split("/")
            data = files[int(name.removesuffix(".jpg"))]
            await asyncio.sleep(int(delay) / 1000)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data
            )
            await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, LOOPBACK, port)
        await server.serve_forever()

    asyncio.run(serve())


def write_json(path: Path, report: Any) -> None:
    """Write the report as JSON."""
    path.write_text(json.dumps(report, indent=1) + "\n")
