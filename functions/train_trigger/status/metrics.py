"""Metrics in tables: their columns, their cells, and the size of the val set; the time and the tasks of a run."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.yolo_task import OBJECTS, YoloTask

_METRICS = (
    "mAP50-95", "mAP50", "precision", "recall", "saved", "balanced accuracy", "top1", "IDF1", "MOTA",
)  # fmt: skip
"""Names of metrics in manifests, in the order of columns. A column that would be empty is not shown."""


def shown_metrics(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """Names of the metrics that any row has: the columns of a table."""
    held = {name for row in rows for name in row}
    return [name for name in _METRICS if name in held]


def metrics_cells(metrics: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """The cells of one row, with three digits; empty for a metric that it does not have."""
    return [f"{metrics[name]:.3f}" if name in metrics else "" for name in names]


def measured_on(tasks: int, objects: int, yolo_task: YoloTask | None) -> str:
    """The val set that was measured on, as `4 tasks, 31 boxes`; empty if that is not known."""
    if not tasks:
        return ""
    one, several = OBJECTS[yolo_task] if yolo_task else ("object", "objects")
    return f"{tasks} task{'' if tasks == 1 else 's'}, {objects} {one if objects == 1 else several}"


def duration(seconds: float) -> str:
    """A time that a job took: `42 s`, `12 min`, `3.1 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def took(seconds: float | None) -> str:
    """How long the jobs of a version's run had run when it was made; empty if an older labelloop made it."""
    return "" if seconds is None else duration(seconds)


def tasks_of(lineage: Mapping[str, Any]) -> tuple[str, str]:
    """The numbers of train and of val tasks of a version; empty if they are not known."""
    tasks = lineage.get("tasks")
    if not isinstance(tasks, dict) or "train" not in tasks:
        return "", ""
    return str(tasks["train"]), str(tasks.get("val", 0))
