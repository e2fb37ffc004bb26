"""Publishes a new version: its files, its report, then its manifest."""

import logging
from functools import cache
from pathlib import Path

from jobs.train.attempt import Attempt
from jobs.train.lineage import lineage_of
from jobs.train.new_version import NewVersion
from jobs.train.report.making import Reporter
from jobs.train.suspect_list import list_suspects
from shared.errors import StoreRefusal
from shared.evolve import evolve
from shared.labelstudio.controls import Control
from shared.state.suspects import SUSPECTS, SuspectList, read_dismissals
from shared.state.versions import DATASET, GRAPH, REPORT, WEIGHTS, Manifest, Tiles

logger = logging.getLogger(__name__)


def publish(made: NewVersion) -> Manifest:
    """Store the files and create the manifest under the next free number. Raises ClaimLost, StoreError."""
    attempt, control, registry = made.attempt, made.control, made.attempt.registry
    attempt.progress.phase("publish", control=control.name, message=made.judged.gate.reason)
    reporter = Reporter(made)
    paths = {WEIGHTS: made.trained.weights, GRAPH: made.graph, DATASET: made.learnt.path}
    suspects = _suspects(made)
    if suspects:
        paths[SUSPECTS] = attempt.folder_of(control, "suspects") / SUSPECTS
        paths[SUSPECTS].write_bytes(suspects.to_json())
    files = tuple(registry.upload_file(control.name, name, path) for name, path in paths.items())
    lineage = lineage_of(made) | {"suspects": _undismissed(made, suspects)}
    tiling = made.dataset.views.tiling

    @cache
    def build(number: int) -> Manifest:
        made_at = attempt.store.now()
        manifest = Manifest(
            version=number,
            control=control.name,
            yolo_task=control.yolo_task,
            labels=made.dataset.labels,
            files=files,
            metrics=made.judged.metrics,
            gate=made.judged.gate,
            shown=made.judged.shown,
            tiling=Tiles(side=tiling.side, overlap=tiling.overlap) if tiling else None,
            lineage=lineage | {"seconds": round(attempt.claim.counted(made_at))},
            run_id=attempt.run_id,
            fence=attempt.claim.fence,
            created_at=made_at,
        )
        page = report_of(attempt, control)  # it names the number, so each has its own
        page.write_text(reporter.html(manifest), encoding="utf-8")
        return evolve(manifest, files=(*files, registry.upload_file(control.name, REPORT, page)))

    attempt.heartbeat.confirm()
    return registry.publish(control.name, build, above=attempt.snapshot.header.taken.get(control.name, 0))


def report_of(attempt: Attempt, control: Control) -> Path:
    """The local file of the report that was published last."""
    return attempt.folder_of(control, "report") / REPORT


def _suspects(made: NewVersion) -> SuspectList | None:
    """The annotations of the val set that are worth a look; None if that cannot be said of this control."""
    control = made.control
    try:
        return list_suspects(control, made.dataset, made.judged, made.attempt.snapshot.held_out(control))
    except Exception:  # a version is not lost for a list
        logger.exception("no list of suspects was made", extra={"event": "suspects_failed", "control": control.name})
        return None


def _undismissed(made: NewVersion, suspects: SuspectList | None) -> int:
    """The number of suspects that nobody has dismissed."""
    if suspects is None:
        return 0
    try:
        dismissals = read_dismissals(made.attempt.store, made.attempt.jobs.uid, made.control.name)
    except StoreRefusal as error:  # a version is not lost for a count
        logger.warning(str(error), extra={"event": "dismissals_not_read", "control": made.control.name})
        return suspects.count
    return suspects.count - sum(dismissals.hold(one) for one in suspects.suspects)
