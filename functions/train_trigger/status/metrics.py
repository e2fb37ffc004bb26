"""Metrics in tables: their columns, their cells, and the size of the val set."""

from collections.abc import Iterable, Mapping

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
