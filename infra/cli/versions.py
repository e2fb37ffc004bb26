"""`labelloop versions` and `labelloop rollback`: lists the versions of a control, and moves its pointer by hand."""

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from infra.cli.metrics import measured_on, metrics_cells, shown_metrics
from infra.cli.projects import NotKnown
from shared.errors import LabelloopError, NotFound, PreconditionFailed
from shared.objectstore import ObjectStore
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.registry import Promotion, Registry
from shared.state.versions import Gate


def list_versions(store: ObjectStore, uid: str, control: str) -> list[dict[str, Any]]:
    """The versions of one control, oldest first, as `versions --json` prints them.

    `gate` has the size of the val set (`tasks`, `things`), what the version was compared with (`against`), and the
    probability that the version is worse than that (`worse`).
    """
    registry = Registry(store, uid)
    (pointer, serving), rejected = registry.look(control), registry.rejected(control)
    return [
        manifest.model_dump(mode="json", exclude={"lineage", "files"})
        | {
            "pointer": pointer is not None and pointer.version == manifest.version,
            "serving": serving is not None and serving.version == manifest.version,
            "rejected": manifest.version in rejected,
            "rolled_back": pointer is not None and manifest.version in pointer.rolled_back,
            "size": sum(file.size for file in manifest.files),
        }
        for manifest in registry.versions(control)
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


def move_pointer(store: ObjectStore, uid: str, control: str, version: int) -> tuple[int | None, Promotion]:
    """Move the pointer to an older or newer version. Answers the version that it named before, and the promotion.

    Takes a new fence, so that an active run cannot undo it. Raises NotKnown for a version that does not exist or has a
    bad file, LabelloopError if somebody else moves the pointer at the same time.
    """
    registry = Registry(store, uid)
    numbers = registry.numbers(control)
    if version not in numbers:
        known = ", ".join(f"v{number}" for number in numbers)
        raise NotKnown(f"{control!r} of project {uid} has no version v{version}; there are {known or 'none'}")
    if version in registry.rejected(control):
        raise NotKnown(f"v{version} of {control!r} failed verification in predict and cannot be served")
    before = registry.pointer(control)
    if before is not None and before.version == version:
        return version, Promotion(before, moved=False)
    fence = Jobs(store, uid).update(claims.next_fence, registry.fence()).fence
    try:
        promotion = registry.promote(
            control,
            version,
            fence=fence,
            run_id=f"rollback-{fence}",
            expected=before.version if before else None,
            reason="rollback",
        )
    except NotFound as error:
        raise NotKnown(str(error)) from error
    except PreconditionFailed as error:
        raise LabelloopError(
            f"{error}: somebody moved it just now; look at `labelloop status` and try again"
        ) from error
    return before.version if before else None, promotion
