"""`labelloop versions`: lists the versions of a control."""

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from functions.train_trigger.status.history import read_history
from functions.train_trigger.status.metrics import measured_on, metrics_cells, shown_metrics
from shared.errors import StoreRefusal
from shared.objectstore import ObjectStore
from shared.state.registry import Registry
from shared.state.versions import Gate


def list_versions(store: ObjectStore, uid: str, control: str) -> list[dict[str, Any]]:
    """The versions of one control, oldest first, as `versions --json` prints them.

    `gate` has the size of the val set (`tasks`, `things`), what the version was compared with (`against`), and the
    probability that the version is worse than that (`worse`).
    """
    (history,) = read_history(Registry(store, uid), [control], newest=None)
    if history.unreadable:
        raise StoreRefusal(history.unreadable[0])
    return [
        version.manifest.model_dump(mode="json", exclude={"lineage", "files"})
        | {
            "pointer": version.pointer,
            "serving": version.serving,
            "rejected": version.rejected,
            "rolled_back": version.rolled_back,
            "size": sum(file.size for file in version.manifest.files),
        }
        for version in history.versions
    ]


def render_versions(control: str, versions: list[dict[str, Any]]) -> RenderableType:
    """The versions for a terminal: a table, and below it the gate's reason for each."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
        title=escape(f"versions of {control!r}"),
        title_justify="left",
    )
    metrics = shown_metrics([version["metrics"] for version in versions])
    for heading in ("", "made", "task", *metrics, "measured on"):
        table.add_column(heading)
    reasons = []
    for version in versions:
        mark = "[green]→ [/]" if version["serving"] else "  "
        note = "[red]failed verification[/] " if version["rejected"] else ""
        note += "[yellow]rolled back[/] " if version["rolled_back"] else ""
        gate = Gate.model_validate(version["gate"])
        verdict = "" if gate.passed else "[yellow]not promoted:[/] "
        table.add_row(
            f"{mark}v{version['version']}",
            version["created_at"][:16].replace("T", " "),
            version["yolo_task"],
            *metrics_cells(version["metrics"], metrics),
            measured_on(gate.tasks, gate.things, version["yolo_task"]),
        )
        reasons.append(Text.from_markup(f"v{version['version']}: {note}{verdict}{escape(gate.reason)}"))
    return Group(table, *reasons)
