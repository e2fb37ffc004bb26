"""Compares challenger and champion on one val set: metrics of both, the gate's decision, the thresholds to show."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.train import shown_choice
from jobs.train.data.dataset import Dataset
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.evidence import Classified, Evidence, Followed, Found, ones
from jobs.train.gate import Scored, judge
from jobs.train.tracking_scores import TrackingCounts
from jobs.train.training import Measured, Trainer, TrainingSettings
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
    graph: Path
    trained: bool  # a version of this project
    points: tuple[str, ...]  # names of the keypoints that were compared
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
        ours = self._measure(graph, points, trained=True, weights=weights)
        shown = self._choose(ours)
        theirs = self._measure(champion.graph, points, trained=champion.version is not None) if champion else None
        metrics = metrics_of(ours.evidence, self.control, shown)
        both = [class_ for class_ in ours.known if theirs and class_ in theirs.known]
        if champion and not both:
            why_no_champion = "; ".join(filter(None, (champion.caveat, f"{champion.name} knows none of the labels")))
            champion = None
        followed = self._followed(graph, trained=True)
        metrics |= metrics_of(followed, self.control, {}) if followed else {}
        evidence: Evidence = followed or (ours.evidence.of(both) if both else ours.evidence)
        scored, their_metrics, their_side = None, dict[str, float](), None
        if champion and theirs:
            their_metrics = metrics_of(theirs.evidence.of(both), self.control, self._by_class(champion.shown))
            rival: Evidence = theirs.evidence.of(both)
            tracked = None
            if followed:
                tracked = self._followed(champion.graph, trained=champion.version is not None)
                rival = tracked or rival
                their_metrics |= metrics_of(rival, self.control, {})
            scored = Scored(champion.name, champion.version, rival)
            their_shown = {class_: self._by_class(champion.shown).get(class_, DEFAULT_SHOWN) for class_ in theirs.known}
            their_side = Side(
                champion.name,
                champion.graph,
                champion.version is not None,
                points,
                theirs.evidence,
                theirs.known,
                their_shown,
                tracked,
            )
        gate = judge(
            metric_of(evidence),
            evidence,
            scored,
            why_no_champion=why_no_champion,
            saved=metrics.get("saved"),
        )
        caveat = champion.caveat if champion else ""
        reason = f"{gate.reason}; {caveat}" if caveat else gate.reason
        gate = evolve(gate, reason=reason, champion_version=served)  # even if another version was compared
        notes = (self._cut(ours),) if ours.cut else ()
        our_shown = {class_: shown.get(class_, DEFAULT_SHOWN) for class_ in ours.known}
        side = Side("", graph, True, points, ours.evidence, ours.known, our_shown, followed)
        return Judged(gate, metrics, their_metrics, self._by_label(shown), notes, side, their_side, caveat)

    def _measure(self, graph: Path, points: tuple[str, ...], *, trained: bool, weights: Path | None = None) -> Measured:
        return self.trainer.evaluate(
            graph, self.dataset.data, self.control, self.settings, trained=trained, points=points, weights=weights
        )

    def _choose(self, ours: Measured) -> dict[int, Shown]:
        """Class → thresholds; none for videos (a tracker decides) and classifiers (the likeliest class does)."""
        if self.control.tag == "VideoRectangle" or not isinstance(ours.evidence, Found):
            return {}
        return shown_choice.choose(ours.evidence.outcomes, ours.known)

    def _followed(self, graph: Path, *, trained: bool) -> Followed | None:
        """Tracks in the videos of the val set; None for other controls, or if no video can be used."""
        if self.control.tag != "VideoRectangle":
            return None
        videos: dict[str, TrackingCounts] = self.trainer.track(
            graph, self.videos(), self.control, self.settings, trained=trained, max_pixels=self.max_pixels
        )
        return Followed(videos) if videos else None

    def _by_label(self, shown: dict[int, Shown]) -> dict[str, Shown]:
        return {self.control.class_names[class_]: each for class_, each in shown.items()}

    def _by_class(self, shown: dict[str, Shown]) -> dict[int, Shown]:
        names = self.control.class_names
        return {names.index(label): each for label, each in shown.items() if label in names}

    def _cut(self, ours: Measured) -> str:
        return (
            f"{ours.cut} images of the val set hold more than the {ours.max_objects} objects that are shown of one: "
            "set LABELLOOP_MAX_OBJECTS higher."
        )


def metric_of(evidence: Evidence) -> str:
    """Name of the metric that the gate compares."""
    if isinstance(evidence, Followed):
        return "IDF1"
    return "balanced accuracy" if isinstance(evidence, Classified) else "mAP50-95"


def metrics_of(evidence: Evidence, control: Control, shown: Mapping[int, Shown]) -> dict[str, float]:
    """Name → value of every metric that could be measured. `shown`: class → thresholds; defaults for the others."""
    found: dict[str, float] = {metric_of(evidence): float(evidence.score(ones(evidence))[0])}
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
