"""The steps of the demo: predictions that are there, annotations that correct them, a run, better ones, and again."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from infra.cli.events import counted, events_received
from infra.demo.controls import CONTROL
from infra.demo.metrics import Compared, Quality, measure, with_every
from infra.demo.project import DemoProject, Predicted
from infra.demo.samples import Sample
from infra.demo.screen import Bar, Screen
from infra.effort.counts import ControlCounts
from infra.local.emulation import Emulation
from infra.local.processes import StartError
from shared.objectstore import open_store
from shared.state.jobs import Jobs
from shared.state.jobs_record import LastRun
from shared.state.registry import Registry
from shared.state.runs import Progress
from shared.state.servable import served_version
from shared.state.versions import Manifest

_POLL = 0.3  # seconds
_LAUNCH_SECONDS = 90.0  # at most, as the next two
_TRAIN_SECONDS = 3600.0
_SERVE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Round:
    """Some tasks that were annotated one after the other, on the predictions of one version."""

    version: str  # model_version
    counts: ControlCounts


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The results of the demo."""

    before: Quality  # on the held-out samples
    after: Quality
    found_before: list[Predicted]  # in the order of the held-out samples
    found_after: list[Predicted]
    base_version: str  # model_version of the base weights
    version: str  # model_version of the trained model
    rounds: tuple[Round, ...]
    runs: tuple[LastRun, ...]
    manifest: Manifest  # of the trained model
    asked: int  # how often Label Studio asked predict


class Story:
    """One demo. `samples`: id of the task → sample, for all tasks; `held_out`: those that are not annotated."""

    def __init__(
        self,
        screen: Screen,
        functions: Emulation,
        project: DemoProject,
        samples: dict[int, Sample],
        held_out: dict[int, Sample],
        runs_at: Sequence[int],
    ) -> None:
        """`runs_at`: the numbers of annotated tasks at which a run is due; the annotator waits for it."""
        self._screen = screen
        self._functions = functions
        self._project = project
        self._samples = samples
        self._held_out = held_out
        self._runs_at = runs_at
        store = open_store(functions.settings.store)
        self._jobs = Jobs(store, project.uid)
        self._ahead = Jobs(store, project.uid, prelabelling=True)
        self._registry = Registry(store, project.uid)
        self._questions = 0  # of ours, to predict
        self._by_hand = False  # because the base weights are for another YOLO task

    def play(self) -> DemoResult:
        """Run all steps. Raises StartError if one fails."""
        tasks = [task for task in self._samples if task not in self._held_out]
        with self._screen.step("before", f"{self._how} predictions of the base weights"):
            version = base_version = self._await_predictions(self._samples)
            found_before, every_before = self._found(version), self._everything()
        rounds, runs, done = list[Round](), list[LastRun](), 0
        for count in [*self._runs_at, len(tasks)]:
            if done < min(count, len(tasks)):
                with self._screen.step(
                    f"annotate_{count}", f"Annotate tasks {done + 1} to {count}, as an expert would"
                ):
                    rounds.append(self._annotate(tasks[done:count], version))
                done = count
            if len(runs) < len(self._runs_at):
                with self._screen.step(f"run_{count}", "Wait for the run that the annotations start"):
                    runs.append(self._await_run())
            served = self._served()
            if served != version:
                with self._screen.step(f"predict_{count}", f"{self._how} predictions of {served}"):
                    version = self._await_predictions([*tasks[done:], *self._held_out])
        manifest = self._registry.serving(CONTROL)
        if manifest is None:
            raise StartError(
                f"no run brought a version: {'; '.join(run.message for run in runs)}; {self._logs(runs[-1].run_id)}"
            )
        found_after = self._found(version)
        return DemoResult(
            before=self._measure(found_before, every_before),
            after=self._measure(found_after, self._everything()),
            found_before=found_before,
            found_after=found_after,
            base_version=base_version,
            version=version,
            rounds=tuple(rounds),
            runs=tuple(runs),
            manifest=manifest,
            asked=self._asked(),
        )

    @property
    def _pushed(self) -> bool:
        return self._functions.settings.push == "on"

    @property
    def _how(self) -> str:
        return "Wait until a job has written" if self._pushed else "Retrieve"

    def _served(self) -> str:
        return served_version(self._registry, [self._project.demo.control], self._functions.settings.base_weights)

    def _await_predictions(self, tasks: Iterable[int]) -> str:
        """Wait until Label Studio has the predictions of what is served; answers its model_version."""
        version, deadline = self._served(), time.monotonic() + _SERVE_SECONDS
        while not (self._are_written(version) if self._pushed else self._are_retrieved(version, tasks)):
            self._functions.check()
            if time.monotonic() > deadline:
                logs = self._functions.process("train_trigger" if self._pushed else "predict").log
                raise StartError(
                    f"Label Studio got no predictions of {version} within {_SERVE_SECONDS:.0f} s; see {logs}"
                )
            time.sleep(_POLL)
        found = [self._project.prediction(task, self._samples[task], version) for task in tasks]
        regions = sum(prediction.regions for prediction in found if prediction is not None)
        there = sum(prediction is not None for prediction in found)
        times = self._asked()
        asked = f"; predict was asked {'once' if times == 1 else f'{times} times'}" if self._pushed else ""
        foreign = self._by_hand = not there and self._registry.serving(CONTROL) is None
        nothing = "; they are not for this control: until its first version all is drawn by hand" if foreign else ""
        self._screen.say(f"{version}: {regions} regions in {there} of {len(found)} tasks{asked}{nothing}")
        return version

    def _are_written(self, version: str) -> bool:
        record = self._ahead.read()
        if record.last_run and record.last_run.outcome == "failed":
            raise StartError(f"predictions could not be written ahead: {record.last_run.message}")
        done = record.prelabelled
        if record.training is not None or done is None or done.model_version != version:
            return False
        nothing = not (done.predicted or done.shown)  # the base weights are for another YOLO task
        return nothing or self._project.shown() == version

    def _are_retrieved(self, version: str, tasks: Iterable[int]) -> bool:
        """Whether predict knows the version, which it may see 3 s late, and has predicted what is asked for now."""
        if self._project.model_version() != version:
            return False
        self._project.retrieve_predictions(tasks)
        found = (self._project.prediction(task, self._samples[task], version) for task in self._held_out)
        return self._registry.serving(CONTROL) is None or all(found)  # the base weights may have nothing to say

    def _asked(self) -> int:
        settings = self._functions.settings
        counts = counted(settings, self._functions.predict_url, "labelloop_phase_seconds_count", phase="request")
        return counts - self._questions

    def _annotate(self, tasks: Sequence[int], version: str) -> Round:
        counts = ControlCounts()
        with self._screen.bar() as bar:
            for number, task in enumerate(tasks, 1):
                counts.add(self._project.annotate(task, self._samples[task], version))
                bar.at(number, len(tasks), "tasks submitted")
        total = counts.total
        kinds = ("added", "moved", "relabelled", "deleted", "kept")
        said = ", ".join(f"{getattr(total, kind)} {kind}" for kind in kinds if getattr(total, kind))
        on, saved = "by hand", ""
        if not self._by_hand:
            on, saved = f"on predictions of {version}", f", {total.saved() or 0.0:.0%} of the work saved"
        self._screen.say(f"{on}: {total.edits / counts.images:.1f} edits a task{saved} ({said})")
        return Round(version, counts)

    def _await_run(self) -> LastRun:
        """Wait until the next run has ended, whatever came of it. Raises StartError if it failed."""
        before = self._jobs.read().last_run
        run_id = self._await_launch(before)
        deadline = time.monotonic() + _TRAIN_SECONDS
        with self._screen.bar() as bar:
            while True:
                self._functions.check()
                record = self._jobs.read()
                last = record.last_run
                _show(bar, self._jobs.runs.progress(run_id))
                if record.training is None and last is not None and last.run_id == run_id:
                    break
                if time.monotonic() > deadline:
                    raise StartError(f"run {run_id} did not end in time; {self._logs(run_id)}")
                time.sleep(_POLL)
        if last.outcome == "failed":
            raise StartError(f"run {run_id} brought no new version ({last.message}); {self._logs(run_id)}")
        self._screen.say(f"{last.outcome}: {last.message}")
        return last

    def _await_launch(self, before: LastRun | None) -> str:
        deadline = time.monotonic() + _LAUNCH_SECONDS
        while time.monotonic() < deadline:
            self._functions.check()
            record = self._jobs.read()
            known = record.training or record.last_run
            if known is not None and (before is None or known.run_id != before.run_id):
                events = events_received(self._functions.settings, "ANNOTATION_CREATED")
                self._screen.say(
                    f"train_trigger has received {events} ANNOTATION_CREATED events and started run {known.run_id}"
                )
                return known.run_id
            time.sleep(_POLL)
        raise StartError(
            f"no training started within {_LAUNCH_SECONDS:.0f} s after the last annotation; train_trigger's log: "
            f"{self._functions.process('train_trigger').log}"
        )

    def _logs(self, run_id: str) -> str:
        return f"its log: {self._functions.settings.work_dir}/logs/{run_id}-*.log"

    def _found(self, version: str) -> list[Predicted]:
        """The predictions for the held-out tasks."""
        found = {task: self._project.prediction(task, sample, version) for task, sample in self._held_out.items()}
        return [found[task] or _nothing(sample) for task, sample in self._held_out.items()]

    def _everything(self) -> list[Predicted]:
        """All that is found in the held-out images, however unsure; empty where only what is shown is measured."""
        control = self._project.demo.control
        if control.media != "image" or control.yolo_task == "classify":
            return []
        self._questions += 1
        found = self._project.everything(self._held_out, self._functions.settings)
        return [one or _nothing(sample) for one, sample in zip(found, self._held_out.values(), strict=True)]

    def _measure(self, shown: list[Predicted], every: list[Predicted]) -> Quality:
        """`every`: see `_everything`."""
        yolo_task = self._project.demo.control.yolo_task
        quality = measure(self._compared(shown), yolo_task)
        return with_every(quality, measure(self._compared(every), yolo_task)) if every else quality

    def _compared(self, found: list[Predicted]) -> list[Compared]:
        return [
            Compared(f"{sample.name}/{number}", frame, expert)
            for sample, prediction in zip(self._held_out.values(), found, strict=True)
            for number, (frame, expert) in enumerate(zip(prediction.frames, sample.expert, strict=True))
        ]


def _nothing(sample: Sample) -> Predicted:
    """An empty prediction: without a first version there may be no model for the yolo task."""
    return Predicted(0, tuple(each.only(np.array([], dtype=np.int64)) for each in sample.expert))


def _show(bar: Bar, progress: Progress | None) -> None:
    if progress is None:
        bar.at(0, None, "the job starts")
        return
    text: str = progress.phase
    if progress.phase == "train" and progress.eta_seconds is not None:
        text = f"epochs, about {progress.eta_seconds:.0f} s to go"
    for name in ("mAP50", "top1"):
        if (value := progress.metrics.get(name)) is not None:
            text += f", {name} on val {value:.2f}"
    bar.at(progress.epoch or 0, progress.epochs, text)
