"""Compares challenger and champion on one val set: metrics of both, the gate's decision, the thresholds to show."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.train import shown_choice
from jobs.train.data.dataset import Dataset
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.evidence import Classified, Evidence, Followed, Found, ones
from jobs.train.gate import Scored, judge
from jobs.train.training import Contender, Measured, Trainer, TrainingSettings
from shared.evolve import evolve
from shared.labelstudio.controls import Control
from shared.state.versions import DEFAULT_SHOWN, Gate, Shown


@dataclass(frozen=True, slots=True)
class Rival:
    """The champion, as the challenger is compared with it."""

    name: str  # "v3", "base-yolo11n"
    version: int | None  # None: base weights
    graph: Path
    points: tuple[str, ...]  # names of its labels, keypoints included
    shown: dict[str, Shown]  # label → its thresholds; empty: the defaults
    caveat: str = ""  # a sentence that is added to the gate's reason


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models that were compared, and what it found in the val set."""

    name: str  # "v3", "base-yolo11n"; empty: the new version, which has no number yet
    contender: Contender
    evidence: Evidence  # of images, also of a video's frames
    classes: tuple[int, ...]  # that it knows
    shown: dict[int, Shown]  # class → thresholds
    followed: Followed | None = None  # of whole videos


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of a comparison."""

    gate: Gate
    metrics: dict[str, float]  # of the challenger
    champion: dict[str, float]  # empty: not compared
    shown: dict[str, Shown]  # of the challenger, label → its thresholds
    notes: tuple[str, ...]  # sentences for the report
    ours: Side
    theirs: Side | None  # None: not compared
    caveat: str = ""  # a sentence about the champion, which is in the gate's reason too


@dataclass(frozen=True, slots=True)
class Judge:
    """Measures models on one control's val set."""

    trainer: Trainer
    control: Control
    settings: TrainingSettings
    dataset: Dataset
    videos: Callable[[], Iterator[tuple[SnapshotTask, Path]]]  # tasks of the val set and their files
    max_pixels: int  # of a video frame

    def judge(
        self,
        graph: Path,
        champion: Rival | None,
        why_no_champion: str,
        *,
        served: int | None,
        weights: Path | None = None,
    ) -> Judged:
        """Compare a new graph with a champion, on the labels that both know. Raises ModelError.

        `champion`: None if there is none, then `why_no_champion` says why. `served`: the version that predict serves,
        for the gate's record; the champion may be an older one. `weights`: what the graph was just made of, to be
        compared with it.
        """
        points = self.control.point_names
        if champion and any(point in champion.points for point in points):
            points = tuple(point for point in points if point in champion.points)
        us = Contender(graph, self.control, self.settings, points=points)
        measured = self.trainer.evaluate(us, self.dataset.data, weights)
        chosen = self._choose(measured)
        ours = replace(_side("", us, measured, chosen), followed=self._followed(us))
        theirs, both = None, list[int]()
        if champion:
            theirs = self._champion(champion, points)
            both = [class_ for class_ in ours.classes if class_ in theirs.classes]
            why_not = ""
            if not both:
                why_not = f"{champion.name} knows none of the labels"
            elif not ours.followed and math.isnan(_score(ours.evidence.of(both))):  # no version could be measured
                why_not = f"the val set holds too few of the labels that {champion.name} knows"
            if why_not:
                why_no_champion = "; ".join(filter(None, (champion.caveat, why_not)))
                champion, theirs, both = None, None, []
            elif ours.followed:
                theirs = replace(theirs, followed=self._followed(theirs.contender))
        scored, their_metrics = None, dict[str, float]()
        if champion and theirs:
            of_both = theirs.evidence.of(both)
            their_metrics = self._metrics(theirs, of_both)
            scored = Scored(champion.name, champion.version, theirs.followed or of_both)
        metrics = self._metrics(ours, ours.evidence)
        evidence = ours.followed or (ours.evidence.of(both) if both else ours.evidence)
        gate = judge(metric_of(evidence), evidence, scored, why_no_champion=why_no_champion, saved=metrics.get("saved"))
        caveat = champion.caveat if champion else ""
        reason = f"{gate.reason}; {caveat}" if caveat else gate.reason
        gate = evolve(gate, reason=reason, champion_version=served)  # even if another version was compared
        shown = {self.control.class_names[class_]: each for class_, each in chosen.items()}
        return Judged(gate, metrics, their_metrics, shown, self._notes(ours.evidence), ours, theirs, caveat)

    def _champion(self, champion: Rival, points: tuple[str, ...]) -> Side:
        """What the champion finds in images."""
        names = self.control.class_names
        shown = {names.index(label): each for label, each in champion.shown.items() if label in names}
        them = Contender(champion.graph, self.control, self.settings, champion.version is not None, points)
        return _side(champion.name, them, self.trainer.evaluate(them, self.dataset.data), shown)

    def _metrics(self, side: Side, evidence: Evidence) -> dict[str, float]:
        """`evidence`: of images, with the classes that count."""
        of_videos = metrics_of(side.followed, self.control, {}) if side.followed else {}
        return metrics_of(evidence, self.control, side.shown) | of_videos

    def _choose(self, ours: Measured) -> dict[int, Shown]:
        """Class → thresholds; none for videos (a tracker decides) and classifiers (the likeliest class does)."""
        if self.control.tag == "VideoRectangle" or not isinstance(ours.evidence, Found):
            return {}
        return shown_choice.choose(ours.evidence.outcomes, ours.known)

    def _followed(self, contender: Contender) -> Followed | None:
        """Tracks in the videos of the val set; None for other controls, or if no video can be used.

        Also if nothing is annotated in the beginnings of the videos, which is what is tracked.
        """
        if self.control.tag != "VideoRectangle":
            return None
        videos = self.trainer.track(contender, self.videos(), self.max_pixels)
        return Followed(videos) if any(each.truth for each in videos.values()) else None

    def _notes(self, evidence: Evidence) -> tuple[str, ...]:
        """A sentence if images hold more objects than are shown of one."""
        most = self.settings.max_objects
        outcomes = evidence.outcomes if isinstance(evidence, Found) else ()
        cut = sum(len(outcome.truth) > most for outcome in outcomes)
        more = f"{cut} images of the val set hold more than the {most} objects that are shown of one"
        return (f"{more}: set LABELLOOP_MAX_OBJECTS higher.",) if cut else ()


def _side(name: str, contender: Contender, measured: Measured, shown: Mapping[int, Shown]) -> Side:
    """`shown`: class → thresholds; the defaults for the others."""
    every = {class_: shown.get(class_, DEFAULT_SHOWN) for class_ in measured.known}
    return Side(name, contender, measured.evidence, measured.known, every)


def metric_of(evidence: Evidence) -> str:
    """Name of the metric that the gate compares."""
    if isinstance(evidence, Followed):
        return "IDF1"
    return "balanced accuracy" if isinstance(evidence, Classified) else "mAP50-95"


def metrics_of(evidence: Evidence, control: Control, shown: Mapping[int, Shown]) -> dict[str, float]:
    """Name → value of every metric that could be measured. `shown`: class → thresholds; defaults for the others."""
    found = {metric_of(evidence): _score(evidence)}
    if isinstance(evidence, Classified):
        found["top1"] = evidence.accuracy()
    if isinstance(evidence, Followed):
        found |= evidence.metrics()
    if isinstance(evidence, Found):
        found |= evidence.at_half()
        if control.tag != "VideoRectangle":  # there a tracker decides what is shown
            every = {class_: shown.get(class_, DEFAULT_SHOWN) for class_ in evidence.classes}
            found |= shown_choice.as_shown(evidence.outcomes, every)
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _score(evidence: Evidence) -> float:
    """Of the val set as it is; NaN if it cannot be measured."""
    return float(evidence.score(ones(evidence))[0])
