"""Exports a project, again when nothing changed, and writes its dataset; prints tasks, seconds, peak memory as JSON.

`python -m bench.train_export URL FOLDER`: URL answers like Label Studio. A process of its own, to measure its memory.
"""

import json
import sys
import time
from pathlib import Path

from bench.memory import peak_memory
from jobs.train.data.dataset import build
from jobs.train.data.earlier import Earlier
from jobs.train.data.export import LabelStudioExporter
from jobs.train.data.files import ImageFiles
from jobs.train.data.snapshot import Snapshot
from jobs.train.data.snapshot_writer import write_snapshot
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.config import parse_label_config
from shared.media.fetch import ImageFetcher
from shared.settings import Settings


def main(url: str, folder: str) -> None:
    """Export, write the snapshot and the dataset, print the figures."""
    key, place = "0" * 40, Path(folder)
    place.mkdir(parents=True)
    label_studio = LabelStudio(url, key)
    settings = Settings.from_environ(
        {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": key, "LABELLOOP_FETCH_CONCURRENCY": "8"}
    )
    started = time.perf_counter()
    project = label_studio.project(1)
    controls = parse_label_config(project.counters.label_config)

    def export(name: str, earlier: Earlier) -> Snapshot:
        return write_snapshot(
            LabelStudioExporter(url, key).tasks(1, earlier.is_same),
            project,
            controls,
            place / name,
            val_fraction=0.2,
            check=lambda: None,
            earlier=earlier.take,
        )

    exported = export("dataset.json", Earlier())
    exported_at = time.perf_counter()
    export("again.json", Earlier(exported.tasks()))
    again_at = time.perf_counter()
    images = ImageFiles(ImageFetcher(settings, label_studio), place / "pictures", max_pixels=10**6, concurrency=8)
    dataset = build(exported.tasks(), controls[0], images, place / "dataset", check=lambda: None)
    assert dataset is not None
    print(
        json.dumps(
            {
                "tasks": dataset.counts.train + dataset.counts.val,
                "export_seconds": round(exported_at - started, 2),
                "again_seconds": round(again_at - exported_at, 2),
                "dataset_seconds": round(time.perf_counter() - again_at, 2),
                "greatest_memory_mb": peak_memory() / 2**20,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
