"""The model card of an exported version: what it answers, how good it is, and what it was made of."""

import re
from collections.abc import Iterable
from importlib.metadata import version as package_version
from typing import Any

from functions.train_trigger.status.metrics import measured_on
from jobs.train.training import task_image_size
from shared.state.versions import DEFAULT_SHOWN, WEIGHTS, Manifest


def model_card(manifest: Manifest, *, uid: str, format_name: str, model: str) -> str:
    """Markdown. `model`: the name of the file or folder beside the card."""
    lineage = manifest.lineage
    packages = lineage.get("packages", {})
    thresholds = [manifest.shown.get(label, DEFAULT_SHOWN) for label in manifest.labels] or [DEFAULT_SHOWN]
    size = (lineage.get("settings") or {}).get("image_size")
    predict = {
        "imgsz": task_image_size(manifest.yolo_task, size) if size else None,
        "conf": min(each.confidence for each in thresholds),
        "iou": max(each.iou for each in thresholds),
    }
    if manifest.yolo_task == "classify":
        predict = {"imgsz": predict["imgsz"]}
    arguments = "".join(f", {name}={value}" for name, value in predict.items() if value is not None)
    verdict = "The gate let it pass" if manifest.gate.passed else "The gate held it back"
    on = measured_on(manifest.gate.tasks, manifest.gate.things, manifest.yolo_task)
    made_of = {
        "project, control, version": f"{uid}, {manifest.control}, v{manifest.version}",
        "run": f"{manifest.run_id}, {manifest.created_at:%Y-%m-%d %H:%M} UTC",
        "base weights": _with_digest(lineage.get("base"), lineage.get("base_sha256")),
        "dataset, SHA-256": lineage.get("dataset_sha256"),
        "annotations, digest": lineage.get("annotations_digest"),
        "tasks": _counts(lineage.get("tasks")),
        "epochs": lineage.get("epochs"),
        f"{WEIGHTS}, SHA-256": manifest.file(WEIGHTS).sha256,
        "trained with": ", ".join(f"{name} {number}" for name, number in packages.items()),
        "exported with": f"ultralytics {package_version('ultralytics')}, labelloop {package_version('labelloop')}",
    }
    lines = [
        f"# {text(manifest.control)}, version {manifest.version}",
        "",
        f"A YOLO model for {manifest.yolo_task}, trained by labelloop on annotations of Label Studio; {format_name}.",
        "",
        "```python",
        "from ultralytics import YOLO",
        "",
        f'model = YOLO("{model}", task="{manifest.yolo_task}")',
        f'results = model.predict("photograph.jpg"{arguments})',
        "```",
        *_raw_output(manifest),
        *_tiles(manifest),
        "",
        "## Labels",
        "",
        *_labels(manifest),
        "",
        "## Metrics",
        "",
        f"On the val set{f': {on}' if on else ''}.",
        "",
        *table(("metric", "value"), ((name, f"{value:.3f}") for name, value in manifest.metrics.items())),
        "",
        f"{verdict}: {text(manifest.gate.reason)}.",
        "",
        "## Made of",
        "",
        *table(("", ""), ((name, value) for name, value in made_of.items() if value not in (None, ""))),
    ]
    return "\n".join(lines) + "\n"


def _raw_output(manifest: Manifest) -> list[str]:
    if manifest.yolo_task == "classify":
        return []
    return [
        "",
        "Its output holds objects several times: whatever runs it has to suppress overlaps, as `predict` does.",
    ]


def _tiles(manifest: Manifest) -> list[str]:
    if manifest.tiling is None:
        return []
    return [
        "",
        f"It learnt from {manifest.tiling.said}, and was measured so: on larger pictures whatever runs it has to ask "
        "it about such tiles and about the whole picture, and to merge what is found at their seams.",
    ]


def _labels(manifest: Manifest) -> list[str]:
    if manifest.yolo_task == "classify":
        return table(("class", "label"), enumerate(manifest.labels))
    shown = ((label, manifest.shown.get(label, DEFAULT_SHOWN)) for label in manifest.labels)
    rows = ((number, label, f"{each.confidence:.2f}", f"{each.iou:.2f}") for number, (label, each) in enumerate(shown))
    chose = "chosen on the val set" if manifest.shown else "the defaults"
    heading = ("class", "label", "shown from this confidence", "two are one above this overlap")
    return [*table(heading, rows), "", f"Confidences and overlaps are {chose}."]


def _with_digest(name: object, sha256: object) -> str:
    return f"{name}, SHA-256 {sha256}" if name and sha256 else str(name or "")


def _counts(tasks: Any) -> str:
    return f"{tasks['train']} to train on, {tasks['val']} to validate on" if tasks else ""


def table(heading: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    """The lines of a table in Markdown."""
    cells = [heading, ("---",) * len(heading), *(tuple(text(cell) for cell in row) for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def text(value: object) -> str:
    """On one line, and with nothing that Markdown would read: labels and names come from outside."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(str(value).split()))
