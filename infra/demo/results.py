"""What a play of the demo comes to: the table at its end, and the report as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.cli.effort import Report, render_effort
from infra.demo.controls import Demo
from infra.demo.metrics import Quality
from infra.demo.samples import BASE_WEIGHTS, Sample
from infra.demo.screen import Screen
from infra.demo.story import DemoResult
from infra.effort.edits import SAME_OBJECT
from jobs.train.shown_choice import ADD, DELETE, MOVE, TIGHT

_UNITS = {"Choices": "choices", "TimelineLabels": "drawn spans", "VideoRectangle": "drawn tracks"}
"""Tag of a control → what one unit of work is, for those that do not draw objects in images."""


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one play."""

    demo: Demo
    held_out: list[Sample]
    outcome: DemoResult
    effort: Report

    @property
    def work(self) -> tuple[int, float, float]:
        """Annotated tasks, and the work for all of them, in drawn objects, without the loop and with it."""
        total, weights = self.effort.effort.total(lambda _: True), self.effort.fit.weights
        return self.effort.effort.tasks, weights.added * total.final, weights.of(total)

    def show(self, screen: Screen, console: Console) -> None:
        """Show what was saved, and the table of both models."""
        console.print(render_effort(self.effort))
        control, after = self.demo.control, self.outcome.after
        screen.result(
            self.outcome.before,
            after,
            self._title(),
            one="frame" if control.media == "video" else "image",
            project=self.work,
            unit=_UNITS.get(control.tag, "drawn objects"),
        )
        if "map50_shown" in after:
            console.print(
                "[dim]mAP counts all that a version finds, however unsure it is; the other rows what it shows.[/]",
                soft_wrap=True,
            )
        if "move" in after:
            console.print(
                f"[dim]A prediction with an overlap of {SAME_OBJECT} to {TIGHT} has to be moved, one below "
                f"{SAME_OBJECT} deleted; an object without a prediction has to be added. Work: {ADD:g} × added + "
                f"{MOVE:g} × moved + {DELETE:g} × deleted.[/]"
            )

    def as_json(self, seconds: Mapping[str, float], pictures: Path) -> dict[str, Any]:
        """The report. `seconds`: of each step. `pictures`: their folder."""
        outcome, (tasks, by_hand, done) = self.outcome, self.work
        return {
            "before": _rounded(outcome.before),
            "after": _rounded(outcome.after),
            "base_weights": BASE_WEIGHTS,
            "base_version": outcome.base_version,
            "version": outcome.version,
            "rounds": [
                {
                    "version": each.version,
                    "tasks": each.counts.images,
                    "edits": each.counts.total.edits,
                    "saved": each.counts.total.saved(),
                }
                for each in outcome.rounds
            ],
            "runs": [{"run_id": run.run_id, "outcome": run.outcome, "message": run.message} for run in outcome.runs],
            "work": {"tasks": tasks, "without": by_hand, "with": round(done, 2)},
            "effort": self.effort.as_json(),
            "asked": outcome.asked,
            "val": outcome.manifest.metrics,
            "held_out": {"samples": len(self.held_out), "objects": self._objects()},
            "epochs": outcome.manifest.lineage["epochs"],
            "seconds": dict(seconds),
            "pictures": str(pictures),
        }

    def _objects(self) -> int:
        return sum(len(frame) for sample in self.held_out for frame in sample.expert)

    def _title(self) -> str:
        """What was held out, in words."""
        control, frames = self.demo.control, sum(len(sample.expert) for sample in self.held_out)
        objects = f" with {self._objects()} objects" if control.yolo_task != "classify" else ""
        of_videos = f", {frames} frames" if control.media == "video" else ""
        return f"{len(self.held_out)} held-out tasks (not annotated){of_videos}{objects}"


def _rounded(quality: Quality) -> dict[str, float]:
    return {name: round(value, 4) for name, value in quality.items()}
