"""Speed of video predictions, compared with ultralytics' `track()`: `python -m bench.video --json FILE`."""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.predict_parts import SIZE, photographs, write_json
from bench.table import Row, show_sections
from infra.demo.samples import AERIAL_IMAGE, base_weights, photograph
from shared.labelstudio.config import parse_label_config
from shared.prediction.model.loader import GraphLoader
from shared.prediction.plan import Plan, plan_control
from shared.prediction.video.predictor import VideoPredictor
from shared.settings import Settings
from tests.samples.served_graphs import base_graph

_TRACKERS = ("botsort", "bytetrack")
_FRAMES = 50
_FPS = 25.0
_FLYING = 12  # moving objects: parts of photographs
_CONFIG = """<View><Video name="video" value="$video" frameRate="25"/>
<VideoRectangle name="box" toName="video" model_tracker="{tracker}"/>
<Labels name="kind" toName="video"><Label value="Thing"/></Labels></View>"""


class OneFile:
    """A Fetcher that answers the same file for every task."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:  # noqa: ARG002
        """See Fetcher.fetch."""
        return self._data


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="a detection model; default: the sample weights")
    parser.add_argument("--pairs", type=int, default=5, help="alternating pairs of predictor and track()")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    weights = (options.weights or base_weights()).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        film = draw(Path(scratch) / "film.webm")
        report = {tracker: _pairs(film, weights, tracker, options.pairs) for tracker in _TRACKERS}
    show_sections(report)
    if options.json:
        write_json(options.json, report)


def rows(weights: Path, pairs: int) -> Iterator[Row]:
    """What the table of predict says of it."""
    with tempfile.TemporaryDirectory() as scratch:
        film = draw(Path(scratch) / "film.webm")
        for tracker in _TRACKERS:
            figures = _pairs(film, weights, tracker, pairs)
            value = f"{figures['predictor, median frames/s']:.1f} frames/s"
            beside = f"{figures['bare track(), median frames/s']:.1f} frames/s, ultralytics' track()"
            ratio, goal = figures["ratio, median of pairs"], figures["target ratio"]
            yield Row(f"video, {tracker}", value, beside, ratio, "≥", goal, "×")


def draw(path: Path) -> Path:
    """Write a video of 1280×720 pixels: parts of photographs move over the aerial photograph while the camera pans."""
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    width, height = SIZE
    ground = cv2.resize(np.asarray(photograph(AERIAL_IMAGE)[0])[..., ::-1], (width + 2 * _FRAMES, height + _FRAMES))
    objects = []
    for file in photographs(_FLYING):
        size = tuple(random.integers(120, 320, 2).tolist())
        objects.append(cv2.resize(np.asarray(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)), size))
    starts = random.uniform((0, 0), (width - 320, height - 320), (_FLYING, 2))
    steps = random.uniform(-3, 3, (_FLYING, 2))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), _FPS, SIZE)
    for number in range(_FRAMES):
        frame = ground[number : number + height, 2 * number : 2 * number + width].copy()
        for patch, start, step in zip(objects, starts, steps, strict=True):
            x, y = np.clip(start + number * step, 0, (width - patch.shape[1], height - patch.shape[0])).astype(int)
            frame[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        writer.write(frame)
    writer.release()
    return path


def _pairs(film: Path, weights: Path, tracker: str, pairs: int) -> dict[str, float]:
    """Frames a second of both, from the file to the tracks."""
    bare = _Bare(weights, tracker)
    ours = _Ours(weights, tracker, film)
    regions, tracks = ours.run()[1], bare.run(film)[1]
    mine, yardstick = [], []
    for _ in range(pairs):
        mine.append(_FRAMES / ours.run()[0])
        yardstick.append(_FRAMES / bare.run(film)[0])
    return {
        "predictor, median frames/s": statistics.median(mine),
        "bare track(), median frames/s": statistics.median(yardstick),
        "tracks of the predictor": regions,
        "tracks of bare track()": tracks,
        "ratio, median of pairs": statistics.median(one / other for one, other in zip(mine, yardstick, strict=True)),
        "target ratio": 2.5,
    }


class _Ours:
    """VideoPredictor without HTTP, from bytes to regions, with one thread for each core."""

    def __init__(self, weights: Path, tracker: str, film: Path) -> None:
        loader = GraphLoader(device="cpu", threads=0, float32=False, iou=0.7, image_size=640, base_graph=Path)
        self._model = loader.load_base(str(base_graph(film.parent / "graph", weights)))
        (control,) = parse_label_config(_CONFIG.format(tracker=tracker))
        plan = plan_control(control, self._model.names, trained=True, settings=Settings())
        self._plan: Plan = replace(plan, labels=("Thing",) * len(self._model.names))  # every class, as track()
        self._predictor = VideoPredictor(OneFile(film.read_bytes()), max_pixels=10**7)

    def run(self) -> tuple[float, int]:
        """(seconds, number of tracks)."""
        started = time.perf_counter()
        found = self._predictor.regions(
            self._plan, self._model, "", task_id=1, deadline=time.monotonic() + 600.0, data={}
        )
        return time.perf_counter() - started, len(found.regions)


class _Bare:
    """ultralytics' own `track()`, with one thread for each core."""

    def __init__(self, weights: Path, tracker: str) -> None:
        import numpy as np
        import torch
        from ultralytics.models import YOLO

        self._yolo = YOLO(weights, task="detect")
        self._tracker = f"{tracker}.yaml"
        self._yolo.predict(np.zeros((64, 64, 3), np.uint8), verbose=False)
        torch.set_num_threads(len(os.sched_getaffinity(0)))  # ultralytics has just set one fewer

    def run(self, film: Path) -> tuple[float, int]:
        """(seconds, number of tracks)."""
        started = time.perf_counter()
        tracks: set[int] = set()
        results: Any = self._yolo.track(str(film), tracker=self._tracker, iou=0.7, stream=True, verbose=False)
        for result in results:
            tracks |= set(result.boxes.id.int().tolist()) if result.boxes.is_track else set()
        return time.perf_counter() - started, len(tracks)


if __name__ == "__main__":
    main()
