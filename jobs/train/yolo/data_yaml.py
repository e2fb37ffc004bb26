"""Facts of a dataset that `jobs.train.data.yolo_dataset` wrote, from its data.yaml and the files beside it."""

import json
from pathlib import Path

from shared.yolo_task import YoloTask

_FULLEST = 16  # images


def place(data: Path, yolo_task: YoloTask) -> str:
    """What ultralytics calls the dataset: the data.yaml; for a classifier the folder with its classes."""
    return str((data.parent if yolo_task == "classify" else data).resolve())


def count_images(data: Path) -> int:
    """Number of images that an epoch looks at."""
    folders = json.loads(data.read_text(encoding="utf-8"))["train"]
    every = [folders] if isinstance(folders, str) else folders
    return sum(1 for folder in every for path in (data.parent / folder).rglob("*") if path.is_file())


def outlines_per_image(data: Path, yolo_task: YoloTask) -> float:
    """Mean number of outlines in the 16 images that have most; 0 for tasks without outlines."""
    if yolo_task != "segment":
        return 0.0
    counts = (len(path.read_text().splitlines()) for path in (data.parent / "labels").rglob("*.txt"))
    fullest = sorted(counts, reverse=True)[:_FULLEST]
    return sum(fullest) / max(len(fullest), 1)
