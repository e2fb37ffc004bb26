"""IDF1 of our trackers and of ultralytics' on the demo's videos: `python -m bench.trackers`. No model is needed."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from infra.demo.drawn import videos
from infra.demo.samples import Sample
from jobs.train.tracking_scores import TrackingCounts
from shared.geometry.detections import Detections
from shared.inference.engine import Pixels
from shared.inference.tracker import Tracker
from shared.media.video import open_video

_SIDE, _FRAMES, _VIDEOS = 320, 40, 10
_QUALITIES = ((0.0, 0.0, 0.0), (0.03, 0.05, 0.1), (0.06, 0.15, 0.5), (0.1, 0.3, 1.0))
"""How far boxes are off, as part of their size; the part of objects that is missed; wrong boxes a frame."""
Follow = Callable[[Detections, Pixels], Detections]


def main() -> None:
    """Print a line for each tracker and quality."""
    films = [(sample, _frames(sample)) for sample in videos(_VIDEOS, _SIDE, _SIDE, frames=_FRAMES, seed=3)]
    ways: dict[str, Callable[[], Follow]] = {}
    for name in ("botsort", "bytetrack"):
        ways[name] = lambda name=name: Tracker(name, 0.25).follow  # type: ignore[misc]
        ways[f"ultralytics' {name}"] = lambda name=name: _ultralytics(name)  # type: ignore[misc]
    for quality in _QUALITIES:
        for name, way in ways.items():
            counts, seconds = TrackingCounts(), 0.0
            for number, (sample, images) in enumerate(films):
                random, follow, frames = np.random.default_rng(number), way(), []
                for truth, image in zip(sample.expert, images, strict=True):
                    found = _imperfect(truth, random, *quality)
                    started = time.perf_counter()
                    frames.append((truth, follow(found, image)))
                    seconds += time.perf_counter() - started
                counts.add(frames)
            scores = counts.scores()
            each = 1000 * seconds / _VIDEOS / _FRAMES
            print(f"{quality} {name:24} IDF1 {scores['IDF1']:.4f} MOTA {scores['MOTA']:.4f} {each:.1f} ms a frame")


def _frames(sample: Sample) -> list[Pixels]:
    with open_video(sample.data, max_pixels=10**7) as video:
        return [frame.image for frame in video.frames()]


def _imperfect(truth: Detections, random: Any, off: float, missed: float, wrong: float) -> Detections:
    some = truth.only(random.random(len(truth)) > missed)
    sizes = np.tile(some.xyxy[:, 2:] - some.xyxy[:, :2], 2)
    extra = random.poisson(wrong)
    corner = random.uniform(0, _SIDE - 60, (extra, 2))
    wrongs = np.hstack([corner, corner + random.uniform(20, 60, (extra, 2))])
    scores = np.clip(random.normal(0.6, 0.2, len(some)), 0.1, 0.99)
    return Detections(
        _SIDE,
        _SIDE,
        np.vstack([some.xyxy + random.normal(0, off, some.xyxy.shape) * sizes, wrongs]),
        np.concatenate([scores, random.uniform(0.1, 0.5, extra)]),
        np.concatenate([some.classes, random.integers(0, 2, extra)]).astype(np.int64),
        truth.names,
    )


def _ultralytics(name: str) -> Follow:
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.track import TRACKER_MAP
    from ultralytics.utils import ROOT, YAML, IterableSimpleNamespace

    settings = YAML.load(ROOT / "cfg" / "trackers" / f"{name}.yaml")
    tracker: Any = TRACKER_MAP[name](args=IterableSimpleNamespace(**settings))

    def follow(found: Detections, image: Pixels) -> Detections:
        table = np.column_stack([found.xyxy, found.scores, found.classes]).astype(np.float32)
        rows = tracker.update(Boxes(table, (_SIDE, _SIDE)), image).reshape(-1, 8).astype(np.float64)
        return Detections(
            _SIDE, _SIDE, rows[:, :4], rows[:, 5], rows[:, 6].astype(np.int64), found.names,
            tracks=rows[:, 4].astype(np.int64),
        )  # fmt: skip

    return follow


if __name__ == "__main__":
    main()
