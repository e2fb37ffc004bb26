"""Makes the report of a version: gathers what it shows from the run, the store and the val set.

A version is never lost for its report: a part that cannot be made is left out, and named.
"""

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from jobs.train.attempt import Attempt
from jobs.train.checkpoints.spool import Epoch
from jobs.train.data.comparing import Data, compare, data_of
from jobs.train.data.dataset import Dataset
from jobs.train.data.learnt import Learnt, read_learnt
from jobs.train.data.taken_up import TakenUp
from jobs.train.data.yolo_dataset import classes_of
from jobs.train.evidence import Found
from jobs.train.judging import Judged, Side
from jobs.train.report import charts, scenes
from jobs.train.report.changes import Changes, changes_of
from jobs.train.report.choosing import Choice, Compared, choose
from jobs.train.report.matching import class_rows, confusion, curve
from jobs.train.report.page import Report
from jobs.train.report.scenes import Copy, Panel, Scene
from jobs.train.report.verdict import verdict_of
from jobs.train.training import Seen
from shared.errors import ClaimLost, StoreError
from shared.labelstudio.controls import Control
from shared.state.learning_curve import curve_of
from shared.state.projects import read_project
from shared.state.versions import DATASET, Manifest
from shared.yolo_task import OBJECTS

logger = logging.getLogger(__name__)

_VERSIONS = 48  # of the learning curve: the newest
_VIDEOS = 3  # whose tracks are drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a training made, and what is known of it."""

    attempt: Attempt
    control: Control
    dataset: Dataset
    judged: Judged
    taken_up: TakenUp
    learnt: Learnt  # what it learnt from
    epochs: Sequence[Epoch]  # of this attempt
    notes: Sequence[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Class index → label."""
        return classes_of(self.control)

    @property
    def compared(self) -> tuple[int, ...]:
        """The classes that both models know."""
        ours, theirs = self.judged.ours, self.judged.theirs
        return tuple(class_ for class_ in ours.classes if theirs is None or class_ in theirs.classes)


@dataclass(slots=True)
class Pictures:
    """The scenes of a report: they do not depend on the number of the version, but for how it is called."""

    choice: Choice
    looked: dict[str, tuple[Copy, Seen, Seen | None]] = field(default_factory=dict)  # by picture
    ways: dict[str, Copy] = field(default_factory=dict)  # by task


class Reporter:
    """Makes the page for a number that the version may get."""

    def __init__(self, made: Made) -> None:
        """Looks at the pictures; what fails is left out. Raises ClaimLost, StoreError."""
        self._made = made
        self._missing: list[str] = []
        judged = made.judged
        self._pictures = Pictures(Choice((), (), 0, 0, 0))
        self._rows, self._champion_rows = [], dict[int, Any]()
        self._curves: list[tuple[str, Any]] = []
        self._confused = None
        self._before: tuple[Manifest, Data | None] | None = None
        self._data: Data | None = None
        with self._part("pictures"):
            self._look()
        with self._part("tracks"):
            self._look_at_ways()
        with self._part("the table of labels"):
            self._rows = class_rows(judged.ours.evidence, judged.ours.shown, judged.ours.classes)
            if judged.theirs:
                rows = class_rows(judged.theirs.evidence, judged.theirs.shown, made.compared)
                self._champion_rows = {row.class_: row for row in rows}
        with self._part("the confusion matrix"):
            self._confused = confusion(judged.ours.evidence, judged.ours.shown, len(made.names))
        with self._part("the curve of precision and recall"):
            self._curves = [
                (side.name, curve(side.evidence, made.compared))
                for side in (judged.ours, judged.theirs)
                if side and isinstance(side.evidence, Found)
            ]
        with self._part("what changed"):
            self._before = self._champion()
            self._data = data_of(made.learnt.tasks(), made.control)

    def html(self, manifest: Manifest) -> str:
        """The page of the version with this manifest."""
        made, judged, missing = self._made, self._made.judged, list(self._missing)
        me, attempt = f"v{manifest.version}", self._made.attempt
        drawn: list[charts.Chart] = []
        with self._part("the curves", missing):
            drawn = [chart for chart in self._charts(manifest) if chart]
        changes = None
        with self._part("what changed", missing):
            changes = self._changes(manifest)
        different, worst, ways = self._scenes(me, missing)
        seconds = manifest.lineage.get("seconds")
        project = read_project(attempt.store, attempt.jobs.uid)
        return Report(
            manifest=manifest,
            title=project.title if project else "",
            project_uid=attempt.jobs.uid,
            made_at=datetime.now(UTC),
            verdict=verdict_of(
                judged.gate,
                manifest.version,
                manifest.yolo_task,
                self._rows,
                made.names,
                caveat=judged.caveat,
                neither=judged.theirs is not None and judged.theirs.trained,
            ),
            names=made.names,
            metrics=judged.metrics,
            champion=judged.champion,
            points=list(zip(cycle(scenes.MARKS), made.control.point_names)),
            different=different,
            different_said=self._said(me),
            worst=worst,
            ways=ways,
            changes=changes,
            rows=self._rows,
            champion_rows=self._champion_rows,
            charts=drawn,
            confused=self._confused,
            counts=made.dataset.counts,
            skipped=attempt.snapshot.header.left_out,
            shown=judged.shown,
            notes=made.notes,
            taken_up=made.taken_up,
            minutes=None if seconds is None else seconds / 60,
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
            logger.exception(f"the report lacks {name}", extra={"event": "report_part_failed", "part": name})
            (self._missing if missing is None else missing).append(name)

    def _look(self) -> None:
        """Choose the pictures, and ask both models about them again: all that they found was not kept."""
        made, ours, theirs = self._made, self._made.judged.ours, self._made.judged.theirs
        choice = choose(
            ours.evidence,
            ours.shown,
            theirs.evidence if theirs else None,
            theirs.shown if theirs else {},
            made.compared,
        )
        self._pictures.choice = choice
        files = [each.picture for each in (*choice.different, *choice.worst)]
        if not files:
            return
        found = [self._seen(side, files) for side in (ours, theirs) if side]
        for file, (seen, *other) in zip(files, zip(*found, strict=True), strict=True):
            copy = scenes.small_copy(seen.picture, made.attempt.images.max_pixels)
            self._pictures.looked[file] = copy, seen, other[0] if other else None

    def _seen(self, side: Side, files: Sequence[str]) -> list[Seen]:
        made = self._made
        return made.attempt.trainer.look(
            side.graph,
            made.dataset.data,
            files,
            made.control,
            made.attempt.settings,
            trained=side.trained,
            points=side.points,
        )

    def _look_at_ways(self) -> None:
        """The videos whose tracks differ most, each over one of its frames."""
        followed = self._made.judged.ours.followed
        if followed is None:
            return
        frames = sorted((self._made.dataset.data.parent / "images" / "val").glob("*"))
        theirs = self._made.judged.theirs
        before = theirs.followed.videos if theirs and theirs.followed else {}

        def gain(task: str) -> float:
            score = followed.videos[task].scores()["IDF1"]
            return -abs(score - before[task].scores()["IDF1"]) if task in before else score

        for task in sorted(followed.videos, key=gain)[:_VIDEOS]:
            of_task = [frame for frame in frames if frame.stem.split("-", 1)[0] == task]
            if of_task and followed.videos[task].ways:
                copy = scenes.small_copy(of_task[len(of_task) // 2], self._made.attempt.images.max_pixels)
                self._pictures.ways[task] = copy

    def _scenes(self, me: str, missing: list[str]) -> tuple[list[Scene], list[Scene], list[Scene]]:
        choice, found = self._pictures.choice, tuple[list[Scene], ...]()
        with self._part("pictures", missing):
            found = tuple([self._scene(each, me) for each in some if each.picture in self._pictures.looked]
                          for some in (choice.different, choice.worst))  # fmt: skip
        different, worst = found or ([], [])
        ways: list[Scene] = []
        with self._part("tracks", missing):
            ways = [self._way(task, copy, me) for task, copy in self._pictures.ways.items()]
        return different, worst, ways

    def _scene(self, compared: Compared, me: str) -> Scene:
        made, names = self._made, self._made.names
        copy, seen, other = self._pictures.looked[compared.picture]
        theirs = made.judged.theirs
        title = _title(compared, made.control, me, theirs.name if theirs else "")
        if seen.outcome is None:
            said = [scenes.guess_panel(other, names, theirs.name)] if other and theirs else []
            panels = [scenes.chosen_panel(seen, names), *said, scenes.guess_panel(seen, names, me)]
            return Scene(title, copy, tuple(panels), drawn=False)
        objects = OBJECTS[made.control.yolo_task]
        shown = {class_: each for class_, each in made.judged.ours.shown.items() if class_ in made.compared}
        panels = [scenes.label_panel(seen, copy, names, objects)]
        if other and theirs:
            before = {class_: each for class_, each in theirs.shown.items() if class_ in made.compared}
            panels.append(scenes.found_panel(other, copy, names, theirs.name, before))
        panels.append(scenes.found_panel(seen, copy, names, me, shown))
        return Scene(title, copy, tuple(panels), drawn=True)

    def _way(self, task: str, copy: Copy, me: str) -> Scene:
        judged = self._made.judged
        panels = list[Panel]()
        for side, name in ((judged.theirs, ""), (judged.ours, me)):
            counts = side.followed.videos.get(task) if side and side.followed else None
            if counts is None or counts.ways is None or side is None:
                continue
            annotated, tracked = counts.ways
            if not panels:
                panels.append(scenes.ways_panel(annotated, copy, "labels", f"{len(annotated.steps)} objects"))
            says = f"IDF1 {counts.scores()['IDF1']:.2f}, {len(tracked.steps)} tracks, {counts.switches} switches"
            panels.append(scenes.ways_panel(tracked, copy, name or side.name, says))
        return Scene(f"task {task}", copy, tuple(panels), drawn=True)

    def _said(self, me: str) -> str:
        choice, theirs = self._pictures.choice, self._made.judged.theirs
        if not choice.pictures:
            return "There are no pictures of this val set."
        val = f"{choice.pictures} {'image' if choice.pictures == 1 else 'images'} of the val set"
        if theirs is None:
            return f"There was nothing to compare {me} with. Of the {val}, from the best to the worst:"
        equal = choice.pictures - choice.better - choice.worse
        said = (
            f"Of the {val}, {me} does better on {choice.better} than {theirs.name}, worse on {choice.worse}, and "
            f"{'the same' if equal else 'equally well'} on {equal}."
        )
        return f"{said} Those where both differ most, for better or worse:" if choice.different else said

    def _charts(self, manifest: Manifest) -> list[charts.Chart | None]:
        registry, control = self._made.attempt.registry, manifest.control
        numbers = [number for number in registry.numbers(control) if number < manifest.version][-_VERSIONS:]
        earlier = [found for number in numbers if (found := registry.find_manifest(control, number))]
        curves = [(name or f"v{manifest.version}", points) for name, points in self._curves]
        return [
            charts.precision_recall(curves),
            charts.learning(curve_of(control, [*earlier, manifest]), manifest.version),
            charts.epochs(self._made.epochs),
        ]

    def _champion(self) -> tuple[Manifest, Data | None] | None:
        """The version that was compared, and what it learnt from."""
        attempt, against = self._made.attempt, self._made.judged.gate.against or ""
        if not (against.startswith("v") and against[1:].isdecimal()):
            return None
        manifest = attempt.registry.find_manifest(self._made.control.name, int(against[1:]))
        if manifest is None or manifest.dataset is None:
            return (manifest, None) if manifest else None
        path = attempt.folder_of(self._made.control, "champion-learnt") / DATASET
        learnt = read_learnt(attempt.registry, manifest, path)
        return manifest, data_of(learnt.tasks(), learnt.control)

    def _changes(self, manifest: Manifest) -> Changes | None:
        if self._before is None or self._data is None:
            return None
        before, data = self._before
        return changes_of(compare(before, manifest, (data, self._data) if data else None))


def _title(compared: Compared, control: Control, me: str, other: str) -> str:
    part = compared.picture.rpartition("/")[2].partition(".")[0].partition("-")[2]  # of `12-3.jpg`: a frame or a crop
    what = "frame" if control.media == "video" else "region"
    task = f"task {compared.task}{f', {what} {part}' if part else ''}"
    if control.yolo_task == "classify":
        return task
    left = f"{compared.work:.1f} left to correct"
    if compared.before is None:
        return f"{task}: {left}"
    if abs(compared.before - compared.work) < 0.05:
        return f"{task}: {left}, as with {other}"
    which = f"{me} is better" if compared.work < compared.before else f"{me} is worse"
    return f"{task}, {which}: {left}, {compared.before:.1f} with {other}"


def _lineage(manifest: Manifest) -> list[tuple[str, str]]:
    lineage = manifest.lineage

    def said(*names: str) -> str:
        found: Any = lineage
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return "" if found is None else str(found)

    rows = [
        ("run", manifest.run_id),
        ("begun from", f"{said('base')} (SHA-256 {said('base_sha256')[:12]}…)"),
        ("annotations", f"SHA-256 {said('annotations_digest')[:12]}…"),
        ("of these, what this control learnt from", f"SHA-256 {said('data_sha256')[:12]}…"),
        ("training", ", ".join((f"{said('epochs')} epochs", f"{said('batch') or '?'} images a step",
                                f"{said('settings', 'image_size')} pixels", f"seed {said('settings', 'seed')}"))),
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
