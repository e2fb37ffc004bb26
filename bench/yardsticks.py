"""What predict is compared with, each in a process of its own that works only when it is asked: a bare OpenVINO model
with JPEG decoding by OpenCV (the floor), and ultralytics' own `predict()`.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[list[bytes]], None]
"""Find everything in these JPEG files."""
_ROUNDS, _FILES = 2, 8  # with which the best way is chosen
_run: Run | None = None  # of such a process


class Yardstick:
    """One of them."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def seconds(self, files: list[bytes]) -> float:
        """Time for JPEG files in memory, until everything in them is found."""
        return self._process.submit(_seconds, files).result()


@contextmanager
def yardstick(make: Callable[[Path, list[bytes]], Run], weights: Path, files: list[bytes]) -> Iterator[Yardstick]:
    """`make` is `floor`, with a graph, or `ultralytics`, with weights. `files`: to choose the best way with."""
    with ProcessPoolExecutor(1, get_context("spawn"), _start, (make, weights, files)) as process:
        process.submit(_seconds, files[:1]).result()  # it is there now
        yield Yardstick(process)


def floor(graph: Path, files: list[bytes]) -> Run:
    """The network alone, at its best number of streams: each decodes, resizes and asks in turn."""
    import cv2

    cv2.setNumThreads(1)
    cores = len(os.sched_getaffinity(0))
    return _best([_streams(graph, streams, cores) for streams in sorted({1, cores})], files)


def ultralytics(weights: Path, files: list[bytes]) -> Run:
    """`predict()` on all cores, with its best size of batches."""
    import torch
    from ultralytics.models import YOLO

    yolo = YOLO(weights, task="detect")

    def batches(size: int) -> Run:
        def run(files: list[bytes]) -> None:
            for first in range(0, len(files), size):
                yolo.predict([_decoded(file) for file in files[first : first + size]], verbose=False)

        return run

    batches(1)(files[:1])
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # ultralytics has just set one fewer
    return _best([batches(1), batches(8)], files)


def _streams(graph: Path, count: int, cores: int) -> Run:
    import openvino
    from openvino.preprocess import ColorFormat, PrePostProcessor

    whole = PrePostProcessor(openvino.Core().read_model(graph))
    pixels = whole.input().tensor()
    pixels.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    whole.input().model().set_layout(openvino.Layout("NCHW"))
    whole.input().preprocess().convert_element_type(openvino.Type.f32).convert_color(ColorFormat.RGB).scale(255.0)
    model = whole.build()
    model.reshape([1, 384, 640, 3])
    options = {"NUM_STREAMS": count, "INFERENCE_NUM_THREADS": cores, "ENABLE_CPU_PINNING": False}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    free = [compiled.create_infer_request() for _ in range(count)]
    threads = ThreadPoolExecutor(count)

    def ask(file: bytes) -> None:
        request = free.pop()
        request.infer(letterboxed(file)[None], share_inputs=True)
        free.append(request)

    def run(files: list[bytes]) -> None:
        for _ in threads.map(ask, files):
            pass

    return run


def _best(ways: list[Run], files: list[bytes]) -> Run:
    for run in ways:
        run(files[:2])
    return min(ways, key=lambda run: min(_timed(run, files[:_FILES]) for _ in range(_ROUNDS)))


def letterboxed(file: bytes) -> NDArray[np.uint8]:
    """(384, 640, 3) of a picture of 1280×720."""
    import cv2

    small = cv2.resize(_decoded(file), (640, 360))
    boxed: NDArray[np.uint8] = cv2.copyMakeBorder(small, 12, 12, 0, 0, cv2.BORDER_CONSTANT, value=(114,) * 3).astype(
        np.uint8
    )
    return boxed


def _decoded(file: bytes) -> Any:
    import cv2

    return cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)


def _start(make: Callable[[Path, list[bytes]], Run], weights: Path, files: list[bytes]) -> None:
    global _run
    _run = make(weights, files)


def _seconds(files: list[bytes]) -> float:
    assert _run is not None
    return _timed(_run, files)


def _timed(run: Run, files: list[bytes]) -> float:
    started = time.perf_counter()
    run(files)
    return time.perf_counter() - started
