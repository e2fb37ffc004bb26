"""Parts of the benchmarks of predict: photographs, a slow image server, the function, and the bare model."""

import asyncio
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from infra.demo.samples import AERIAL_IMAGE, photograph
from infra.local.label_studio import REPOSITORY
from infra.local.processes import LOOPBACK, Child, choose_port

UID = "1.1700000000"
LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)
SIZE = (1280, 720)  # width, height in pixels


def photographs(count: int) -> list[bytes]:
    """JPEG files of 1280×720 pixels: parts of three photographs."""
    import numpy as np
    from PIL import Image
    from ultralytics.utils import ASSETS

    sources = [Image.open(ASSETS / name).convert("RGB") for name in ("bus.jpg", "zidane.jpg")]
    sources.append(photograph(AERIAL_IMAGE)[0])
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
        _wait(f"http://{LOOPBACK}:{port}/0/0.jpg", 30.0)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.terminate()
        process.join()


@contextmanager
def predict_function(folder: Path, weights: Path, **variables: str) -> Iterator[str]:
    """Run functions/predict under functions-framework; yields its address."""
    port = choose_port()
    environ = dict(os.environ) | {
        "HOST": LOOPBACK,
        "LABELLOOP_STORE": (folder / "store").as_uri(),
        "LABELLOOP_CACHE_DIR": str(folder / "cache"),
        "LABELLOOP_BASE_WEIGHTS": str(weights),
        "LABELLOOP_ALLOWED_PRIVATE_HOSTS": LOOPBACK,
        **variables,
    }
    command = [sys.executable, "-m", "functions_framework", "--target", "predict", "--source"]
    command += [str(REPOSITORY / "functions" / "predict" / "main.py"), "--port", str(port), "--host", LOOPBACK]
    child = Child("predict", command, folder / "predict.log", environ=environ)
    try:
        _wait(f"http://{LOOPBACK}:{port}/health", 30.0)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        child.stop()


def setup_body() -> dict[str, Any]:
    """The body of `POST /setup`, as Label Studio sends it."""
    return {"project": UID, "schema": LABEL_CONFIG, "hostname": "", "access_token": "", "extra_params": None}


def predict_body(urls: list[str]) -> dict[str, Any]:
    """The body of `POST /predict`, as Label Studio sends it."""
    tasks = [{"id": number, "data": {"image": url}} for number, url in enumerate(urls)]
    return {"tasks": tasks, "project": UID, "label_config": LABEL_CONFIG, "params": {"context": None}}


class BareModel:
    """ultralytics' own `predict()`, with one thread for each core."""

    def __init__(self, weights: Path) -> None:
        import torch
        from ultralytics.models import YOLO

        self._yolo = YOLO(weights, task="detect")
        self._yolo.predict(_decoded([photographs(1)[0]]), verbose=False)
        torch.set_num_threads(len(os.sched_getaffinity(0)))  # ultralytics has just set one fewer

    def run(self, files: list[bytes], batch: int) -> float:
        """Seconds from JPEG files in memory to results."""
        started = time.perf_counter()
        for first in range(0, len(files), batch):
            self._yolo.predict(_decoded(files[first : first + batch]), verbose=False)
        return time.perf_counter() - started

    def own_time(self, file: bytes) -> tuple[float, float]:
        """(seconds of decoding one file, seconds of letterbox, network and suppression as ultralytics reports them)."""
        started = time.perf_counter()
        images = _decoded([file])
        decoding = time.perf_counter() - started
        results: Any = self._yolo.predict(images, verbose=False)
        return decoding, sum(results[0].speed.values()) / 1000  # reported in milliseconds


def _decoded(files: list[bytes]) -> list[Any]:
    import cv2
    import numpy as np

    return [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in files]


def _wait(url: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            requests.get(url, timeout=1.0).raise_for_status()
        except requests.RequestException:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


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


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write the report as JSON."""
    path.write_text(json.dumps(report, indent=1) + "\n")
