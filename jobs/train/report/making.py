"""Makes the report of a version: gathers what it shows from the run, the store and the val set.

A version is never lost for its report: a part that cannot be made is left out, and named.
"""

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from jobs.train.data.comparing import Data, compare, data_of
from jobs.train.data.learnt import read_learnt
from jobs.train.evidence import Found
from jobs.train.new_version import NewVersion
from jobs.train.report import charts, scenes
from jobs.train.report.changes import Changes, changes_of
from jobs.train.report.matching import class_rows, confusion, curve
from jobs.train.report.page import Report
from jobs.train.report.pictures import Pictures
from jobs.train.report.scenes import Scene
from jobs.train.report.verdict import verdict_of
from shared.errors import ClaimLost, StoreError
from shared.state.learning_curve import curve_of
from shared.state.projects import read_title
from shared.state.versions import DATASET, Manifest

logger = logging.getLogger(__name__)

_VERSIONS = 48  # of the learning curve: the newest


class Reporter:
    """Makes the page for a number that the version may get."""

    def __init__(self, version: NewVersion) -> None:
        """Gathers all that does not depend on the version's number. Raises ClaimLost, StoreError."""
        self._version = version
        self._missing: list[str] = []
        judged = version.judged
        self._pictures = Pictures(version)
        self._rows, self._champion_rows = [], dict[int, Any]()
        self._curves: list[tuple[str, Any]] = []
        self._confused = None
        self._before: tuple[Manifest, Data | None] | None = None
        self._data: Data | None = None
        with self._part("pictures"):
            self._pictures.look()
        with self._part("tracks"):
            self._pictures.look_at_videos()
        with self._part("the table of labels"):
            self._rows = class_rows(judged.ours.evidence, judged.ours.shown, judged.ours.classes)
            if judged.theirs:
                rows = class_rows(judged.theirs.evidence, judged.theirs.shown, version.compared)
                self._champion_rows = {row.class_: row for row in rows}
        with self._part("the confusion matrix"):
            self._confused = confusion(judged.ours.evidence, judged.ours.shown, len(version.names))
        with self._part("the curve of precision and recall"):
            self._curves = [
                (side.name, curve(side.evidence, version.compared))
                for side in (judged.ours, judged.theirs)
                if side and isinstance(side.evidence, Found)
            ]
        with self._part("what changed"):
            self._before = self._champion()
            self._data = data_of(version.learnt.tasks(), version.control)

    def html(self, manifest: Manifest) -> str:
        """The page of the version with this manifest."""
        version, judged, missing = self._version, self._version.judged, list(self._missing)
        me, attempt = f"v{manifest.version}", self._version.attempt
        drawn: list[charts.Chart] = []
        with self._part("the curves", missing):
            drawn = [chart for chart in self._charts(manifest) if chart]
        changes = None
        with self._part("what changed", missing):
            changes = self._changes(manifest)
        different, worst, trajectories = list[Scene](), list[Scene](), list[Scene]()
        with self._part("pictures", missing):
            different, worst = self._pictures.scenes(me)
        with self._part("tracks", missing):
            trajectories = self._pictures.trajectories(me)
        return Report(
            manifest=manifest,
            title=read_title(attempt.store, attempt.jobs.uid),
            project_uid=attempt.jobs.uid,
            made_at=datetime.now(UTC),
            verdict=verdict_of(
                manifest,
                self._rows,
                version.names,
                caveat=judged.caveat,
                neither=judged.theirs is not None and judged.theirs.contender.trained,
            ),
            names=version.names,
            metrics=judged.metrics,
            champion=judged.champion,
            points=list(zip(cycle(scenes.MARKS), version.control.point_names)),
            different=different,
            different_said=self._pictures.said(me),
            worst=worst,
            trajectories=trajectories,
            changes=changes,
            rows=self._rows,
            champion_rows=self._champion_rows,
            charts=drawn,
            confused=self._confused,
            counts=version.dataset.counts,
            skipped=attempt.snapshot.header.left_out,
            shown=judged.shown,
            notes=version.notes,
            taken_up=version.taken_up,
            minutes=None if manifest.seconds is None else manifest.seconds / 60,
            attempts=attempt.claim.attempt,
            lineage=_lineage(manifest),
            commands=_commands(manifest, attempt.jobs.uid),
            missing=missing,
        ).html()

    @contextmanager
    def _part(self, name: str, missing: list[str] | None = None) -> Iterator[None]:
        try:
            yield
        except (ClaimLost, StoreError):
            raise
        except Exception:
            logger.exception(f"the report is made without {name}", extra={"event": "report_part_failed", "part": name})
            (self._missing if missing is None else missing).append(name)

    def _charts(self, manifest: Manifest) -> list[charts.Chart | None]:
        registry, control = self._version.attempt.registry, manifest.control
        numbers = [number for number in registry.numbers(control) if number < manifest.version][-_VERSIONS:]
        earlier = registry.readable(control, numbers)
        curves = [(name or f"v{manifest.version}", points) for name, points in self._curves]
        return [
            charts.precision_recall(curves),
            charts.learning(curve_of(control, [*earlier, manifest]), manifest.version),
            charts.epochs(self._version.epochs),
        ]

    def _champion(self) -> tuple[Manifest, Data | None] | None:
        """The version that was compared, and what it learnt from."""
        attempt, against = self._version.attempt, self._version.judged.gate.against or ""
        if not (against.startswith("v") and against[1:].isdecimal()):
            return None
        manifest = attempt.registry.find_manifest(self._version.control.name, int(against[1:]))
        if manifest is None or manifest.dataset is None:
            return (manifest, None) if manifest else None
        path = attempt.folder_of(self._version.control, "champion-learnt") / DATASET
        learnt = read_learnt(attempt.registry, manifest, path)
        return manifest, data_of(learnt.tasks(), learnt.control)

    def _changes(self, manifest: Manifest) -> Changes | None:
        if self._before is None or self._data is None:
            return None
        before, data = self._before
        return changes_of(compare(before, manifest, (data, self._data) if data else None))


def _lineage(manifest: Manifest) -> list[tuple[str, str]]:
    lineage = manifest.lineage

    def said(*names: str) -> str:
        found: Any = lineage
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return "" if found is None else str(found)

    mean = said("mean_with")
    rows = [
        ("run", manifest.run_id),
        ("begun from", f"{said('base')} (SHA-256 {said('base_sha256')[:12]}…)"),
        ("weights", f"the mean of those of {mean} and of those that were learnt" if mean else ""),
        ("annotations", f"SHA-256 {said('annotations_digest')[:12]}…"),
        ("of these, what this control learnt from", f"SHA-256 {said('data_sha256')[:12]}…"),
        ("training", ", ".join((f"{said('epochs')} epochs", f"{said('batch') or '?'} images a step",
                                f"{said('settings', 'image_size')} pixels", f"seed {said('settings', 'seed')}"))),
        ("pictures", f"{manifest.tiling.said}; {said('tiles')} were learnt from" if manifest.tiling else ""),
        ("ultralytics", _listed(lineage.get("ultralytics"))),
        ("made with", _listed(lineage.get("packages"))),
    ]  # fmt: skip
    return [(name, value) for name, value in rows if value]


def _listed(found: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items()) if isinstance(found, dict) else ""


def _commands(manifest: Manifest, uid: str) -> list[tuple[str, str]]:
    which = shlex.join([f"--project={uid}", f"--control={manifest.control}"])
    return [
        ("To train it again, from the same data and settings:", f"labelloop retrain {manifest.version} {which}"),
        ("To have its dataset:", f"labelloop dataset {manifest.version} {which} --to ./v{manifest.version}"),
    ]
