"""The job beside a bare ultralytics training, also in float32 as that one, and the cost of an export of 10,000 tasks.

`python -m bench.train --json FILE`. Trainings alternate, in one process with the same threads. On a noisy
machine the part of the time that is spent in the job's callbacks says more than the difference of two trainings.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.demo import samples
from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Checkpoints
from jobs.train.checkpoints.uploader import CheckpointUploader
from jobs.train.progress import ProgressWriter
from jobs.train.training import TrainingSettings
from jobs.train.yolo.machine import prepare_ultralytics, step_images
from jobs.train.yolo.trainer import YoloTrainer
from shared.geometry.detections import xyxy_to_xywhn
from shared.objectstore import open_store
from shared.state import claims
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from tests.fakes.train_parts import PagedProject, begin_run, jpeg, served

_SETTINGS = {"epochs": 5, "image_size": 256, "batch": 8, "seed": 0, "patience": 30, "freeze": 0}
_UID = "1.1767225600"
_inside: list[float] = []  # seconds of each call of one of the job's callbacks


class TimedSpool(Spool):
    """A Spool that measures its callbacks."""

    def callbacks(self) -> dict[str, Callable[[Any], None]]:
        """See Spool.callbacks."""
        return {event: _timed(callback) for event, callback in super().callbacks().items()}


def _timed(callback: Callable[[Any], None]) -> Callable[[Any], None]:
    def timed(trainer: Any) -> None:
        started = time.perf_counter()
        try:
            callback(trainer)
        finally:
            _inside.append(time.perf_counter() - started)

    return timed


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--pairs", type=int, default=3, help="rounds of trainings in turns")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = {"training": _training(Path(folder), asked.pairs), "export": _export(Path(folder))}
    print(json.dumps(figures, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


def _training(folder: Path, pairs: int) -> dict[str, float]:
    os.environ.update(prepare_ultralytics(folder / "ultralytics", threads=0))
    data = _tiles(folder / "dataset")
    bare, ours, exact, in_callbacks, in_uploader = [], [], [], [], []
    for pair in range(pairs + 1):  # the first pair warms up
        bare.append(_bare(data, folder / f"bare-{pair}"))
        _inside.clear()
        seconds, thread_seconds = _ours(data, folder / f"ours-{pair}")
        ours.append(seconds)
        in_callbacks.append(sum(_inside) / seconds)
        in_uploader.append(thread_seconds / seconds)
        exact.append(_ours(data, folder / f"float32-{pair}", float32=True)[0])
    return {
        "bare_seconds": statistics.median(bare[1:]),
        "job_seconds": statistics.median(ours[1:]),
        "job_float32_seconds": statistics.median(exact[1:]),
        "job_to_bare": statistics.median(one / other for one, other in zip(ours[1:], bare[1:], strict=True)),
        "job_float32_to_bare": statistics.median(one / other for one, other in zip(exact[1:], bare[1:], strict=True)),
        "share_in_callbacks": statistics.median(in_callbacks[1:]),
        "share_of_other_threads": statistics.median(in_uploader[1:]),
    }


def _bare(data: Path, folder: Path) -> float:
    from ultralytics.models import YOLO

    model = YOLO(str(samples.base_weights()))
    started = time.perf_counter()
    model.train(
        data=str(data),
        epochs=_SETTINGS["epochs"],
        imgsz=_SETTINGS["image_size"],
        batch=_SETTINGS["batch"],
        nbs=step_images(len(list((data.parent / "images" / "train").iterdir())), _SETTINGS["batch"]),
        patience=_SETTINGS["patience"],
        seed=_SETTINGS["seed"],
        device="cpu",
        plots=False,
        verbose=False,
        save_dir=str(folder),
    )
    return time.perf_counter() - started


def _ours(data: Path, folder: Path, *, float32: bool = False) -> tuple[float, float]:
    """(seconds of the training, CPU seconds of the uploader's thread)."""
    store = open_store((folder / "store").as_uri())
    jobs = Jobs(store, _UID)
    claim = jobs.update(claims.start, begin_run(store).run_id, nonce="bench", lifetime=600).held
    settings = TrainingSettings.model_validate(
        {**_SETTINGS, "val_fraction": 0.2, "base_weights": "x", "longest_run": 3600}
    )
    trainer = YoloTrainer(
        folder / "model",
        config_dir=folder.parent / "ultralytics",
        weights_folder=folder,
        device="cpu",
        float32=float32,
    )
    spool = TimedSpool(folder / "spool", folder / "abort", time.time() + 3600)
    progress = ProgressWriter(jobs, claim.run_id, 1)
    checkpoints = Checkpoints(store, jobs, claim.run_id, "label", 1)
    used: list[float] = []

    class MeasuredUploader(CheckpointUploader):
        def flush(self) -> bool:
            started = time.thread_time()
            took_all = super().flush()
            used.append(time.thread_time() - started)
            return took_all

    started = time.perf_counter()
    with (
        Heartbeat(jobs, claim, lifetime=6, longest_run=3600, on_lost=lambda: None),
        MeasuredUploader(spool, checkpoints, progress.epoch),
    ):
        trainer.fit(data, samples.base_weights(), settings, spool, None)
    return time.perf_counter() - started, sum(used)


def _tiles(folder: Path) -> Path:
    for number, tile in enumerate(samples.tiles()):
        split = "val" if number % 5 == 0 else "train"
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        (folder / "images" / split / f"{number}.jpg").write_bytes(tile.data)
        rows = xyxy_to_xywhn(tile.boxes, tile.width, tile.height).tolist()
        (folder / "labels" / split / f"{number}.txt").write_text(
            "".join(f"0 {' '.join(map(str, row))}\n" for row in rows)
        )
    content = {"path": str(folder), "train": "images/train", "val": "images/val", "names": ["Tree"]}
    (folder / "data.yaml").write_text(json.dumps(content))
    return folder / "data.yaml"


def _export(folder: Path) -> dict[str, Any]:
    project, figures = PagedProject(0, images={"a.jpg": jpeg(16, 16)}), {}
    with served(project) as web:
        for count in (1_000, 10_000):
            project.count = count
            command = [sys.executable, "-m", "bench.train_export", web.url, str(folder / f"export-{count}")]
            said = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[str(count)] = json.loads(said.stdout)
            web.seen.clear()
    return figures


if __name__ == "__main__":
    main()
