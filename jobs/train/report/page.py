"""The page of a report: its contents, and the template that shows them. What comes from outside is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from jobs.train.data.dataset import Counts
from jobs.train.data.taken_up import TakenUp
from jobs.train.report.changes import Changes
from jobs.train.report.charts import FRAME, Chart, reach_of
from jobs.train.report.matching import ClassRow
from jobs.train.report.scenes import Scene
from jobs.train.report.verdict import Verdict
from shared.geometry.detections import Ints
from shared.readable import readable
from shared.state.versions import Manifest, Shown
from shared.yolo_task import OBJECTS

_FOLDER = Path(__file__).parent
_MAX_ROWS = 60  # of classes
_MAX_TABLE = 12  # classes of a confusion matrix; of more, the most frequent confusions are listed
_MAX_PAIRS = 20
MAX_BYTES = 3_000_000
"""Of a report. Without pictures it is a twentieth of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The contents of the page."""

    manifest: Manifest  # of the version, as it will be published
    title: str  # of the project; empty: not known
    project_uid: str
    made_at: datetime  # UTC
    verdict: Verdict
    names: Sequence[str]  # class index → label
    metrics: Mapping[str, float]  # of the version
    champion: Mapping[str, float]  # empty: not compared
    points: Sequence[tuple[str, str]]  # (mark in pictures, name) of keypoints
    different: Sequence[Scene]
    different_said: str
    worst: Sequence[Scene]
    trajectories: Sequence[Scene]  # of tracked objects
    changes: Changes | None
    rows: Sequence[ClassRow]
    champion_rows: Mapping[int, ClassRow]  # by class
    charts: Sequence[Chart]
    confused: Ints | None  # see `matching.confusion`
    counts: Counts
    skipped: int  # tasks with cancelled annotations only
    shown: Mapping[str, Shown]  # label → its thresholds
    notes: Sequence[str]
    taken_up: TakenUp
    minutes: float | None  # that the run has taken; None: not known
    attempts: int
    lineage: Sequence[tuple[str, str]]
    commands: Sequence[tuple[str, str]]  # (what for, command)
    missing: Sequence[str]  # parts that could not be made

    def html(self) -> str:
        """The page, of at most MAX_BYTES: pictures are left out if it would be longer."""
        text = self._rendered(self.different, self.worst, self.trajectories)
        return text if len(text.encode()) <= MAX_BYTES else self._rendered((), (), ())

    def _rendered(self, different: Sequence[Scene], worst: Sequence[Scene], trajectories: Sequence[Scene]) -> str:
        gate = self.manifest.gate
        page: str = _template().render(
            report=self,
            gate=gate,
            counts=self.counts,
            objects=OBJECTS[self.manifest.yolo_task][1],
            classifies=self.manifest.yolo_task == "classify",
            style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
            different=different,
            worst=worst,
            trajectories=trajectories,
            reach=reach_of(*gate.gain, (gate.challenger or 0.0) - (gate.champion or 0.0)) if gate.gain else None,
            rows=self.rows[:_MAX_ROWS],
            more_rows=max(len(self.rows) - _MAX_ROWS, 0),
            table=_table(self.confused, self.names),
            pairs=_pairs(self.confused, self.names),
            width=FRAME.width,
            height=FRAME.height,
            left=FRAME.left,
            right=FRAME.width - FRAME.right,
        )
        return page.lstrip()


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"readable": readable, "name": _name}
    return environment.get_template("page.html")


def _name(label: str) -> str:
    return readable(label) or "(no label)"


def _table(confused: Ints | None, names: Sequence[str]) -> list[tuple[str, list[tuple[int, int, bool]]]] | None:
    """(label, (count, its percent of the row, whether it is right) for each column); None for too many classes."""
    if confused is None or len(names) > _MAX_TABLE:
        return None
    rows = []
    for number, row in enumerate(confused.tolist()):
        total = max(sum(row), 1)
        cells = [(count, round(100 * count / total), place == number) for place, count in enumerate(row)]
        rows.append((names[number] if number < len(names) else None, cells))
    return rows  # type: ignore[return-value]


def _pairs(confused: Ints | None, names: Sequence[str]) -> list[tuple[str | None, str | None, int]]:
    """(annotated, shown, how often) of the most frequent mistakes; None: nothing there, not found."""
    if confused is None or len(names) <= _MAX_TABLE:
        return []
    wrong = confused.copy()
    np.fill_diagonal(wrong, 0)
    called: list[str | None] = [*names, None]
    most = np.argsort(-wrong, axis=None, kind="stable")[:_MAX_PAIRS]
    places = zip(*np.unravel_index(most, wrong.shape), strict=True)
    return [(called[row], called[column], int(wrong[row, column])) for row, column in places if wrong[row, column]]
