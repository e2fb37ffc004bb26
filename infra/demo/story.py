"""The steps of the demo: base predictions, annotations, launch, training, promoted version, new predictions."""

import time
from dataclasses import dataclass

import numpy as np

from infra.cli.events import events_received
from infra.demo.controls import CONTROL
from infra.demo.metrics import Compared, Quality, measure
from infra.demo.project import DemoProject, Predicted
from infra.demo.samples import Sample
from infra.demo.screen import Bar, Screen
from infra.local.emulation import Emulation
from infra.local.processes import StartError
from shared.objectstore import open_store
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from shared.state.runs import Progress
from shared.state.versions import Manifest

_POLL = 0.3  # seconds
_LAUNCH_SECONDS = 90.0  # at most, as the next two
_TRAIN_SECONDS = 3600.0
_SERVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The results of the demo."""

    before: Quality  # on the held-out samples
    after: Quality
    found_before: list[Predicted]  # in the order of the held-out samples
    found_after: list[Predicted]
    base_version: str  # model_version of the base weights
    version: str  # model_version of the trained model
    run_id: str
    manifest: Manifest


class Story:
    """One demo. `samples`: id of the task → sample, for all tasks; `held_out`: those that are not annotated."""

    def __init__(
        self,
        screen: Screen,
        functions: Emulation,
        project: DemoProject,
        samples: dict[int, Sample],
        held_out: dict[int, Sample],
    ) -> None:
        self._screen = screen
        self._functions = functions
        self._project = project
        self._samples = samples
        self._held_out = held_out
        store = open_store(functions.settings.store)
        self._jobs = Jobs(store, project.uid)
        self._registry = Registry(store, project.uid)

    def play(self) -> DemoResult:
        """Run all steps. Raises StartError if one fails."""
        with self._screen.step("before", "Retrieve predictions of the base weights through Label Studio"):
            base_version, found_before = self._propose()
        with self._screen.step("annotate", "Annotate the tasks, as an expert would"):
            self._annotate()
        with self._screen.step("launch", "Wait for train_trigger to start a training job, on Label Studio's webhooks"):
            run_id = self._await_launch()
        with self._screen.step("train", f"Train (run {run_id})"):
            self._await_end(run_id)
        with self._screen.step("promote", "Read the promoted version"):
            manifest = self._promoted(run_id)
        with self._screen.step("after", "Retrieve predictions of the new version for the held-out tasks"):
            version, found_after = self._retrieve_new(base_version)
        return DemoResult(
            before=self._measure(found_before),
            after=self._measure(found_after),
            found_before=found_before,
            found_after=found_after,
            base_version=base_version,
            version=version,
            run_id=run_id,
            manifest=manifest,
        )

    def _propose(self) -> tuple[str, list[Predicted]]:
        version = self._project.model_version()
        self._screen.whisper(f"retrieving {len(self._samples)} tasks in one request")
        self._project.retrieve_predictions(self._samples)
        found = {task: self._project.prediction(task, sample, version) for task, sample in self._samples.items()}
        answered = [prediction for prediction in found.values() if prediction is not None]
        regions = sum(prediction.regions for prediction in answered)
        self._screen.say(f"{version}: {regions} regions in {len(answered)} of {len(found)} tasks")
        return version, [found[task] or _nothing(sample) for task, sample in self._held_out.items()]

    def _annotate(self) -> None:
        tasks = {task: sample for task, sample in self._samples.items() if task not in self._held_out}
        with self._screen.bar(len(tasks)) as bar:
            for number, (task, sample) in enumerate(tasks.items(), 1):
                self._project.annotate(task, sample)
                bar.at(number, "tasks submitted")

    def _await_launch(self) -> str:
        deadline = time.monotonic() + _LAUNCH_SECONDS
        while time.monotonic() < deadline:
            self._functions.check()
            record = self._jobs.read()
            run_id = record.training.run_id if record.training else record.last_run.run_id if record.last_run else None
            if run_id is not None:
                events = events_received(self._functions.settings, "ANNOTATION_CREATED")
                self._screen.say(
                    f"train_trigger has received {events} ANNOTATION_CREATED events and started run {run_id}"
                )
                return run_id
            time.sleep(_POLL)
        raise StartError(
            f"no training started within {_LAUNCH_SECONDS:.0f} s after the last annotation; train_trigger's log: "
            f"{self._functions.process('train_trigger').log}"
        )

    def _await_end(self, run_id: str) -> None:
        deadline = time.monotonic() + _TRAIN_SECONDS
        with self._screen.bar(self._functions.settings.epochs) as bar:
            while time.monotonic() < deadline:
                self._functions.check()
                record = self._jobs.read()
                _show(bar, self._jobs.runs.progress(run_id))
                if record.training is None and record.last_run is not None:
                    break
                time.sleep(_POLL)
        last_run = self._jobs.read().last_run
        if last_run is None or last_run.outcome != "promoted":
            how = f"{last_run.outcome}: {last_run.message}" if last_run else "it did not end in time"
            logs = f"{self._functions.settings.work_dir}/logs/{run_id}-*.log"
            raise StartError(f"run {run_id} brought no new version ({how}); its log: {logs}")

    def _promoted(self, run_id: str) -> Manifest:
        manifest = self._registry.serving(CONTROL)
        if manifest is None or manifest.run_id != run_id:
            raise StartError(f"run {run_id} says promoted, but the pointer does not name its version")
        val = ", ".join(f"{name} {value:.2f}" for name, value in sorted(manifest.metrics.items()))
        self._screen.say(f"{CONTROL}:v{manifest.version}, on the val tasks of its training: {val}")
        self._screen.say(manifest.gate.reason)
        return manifest

    def _retrieve_new(self, base_version: str) -> tuple[str, list[Predicted]]:
        """Retrieve until all held-out tasks have a prediction of the new version, which predict may see 3 s late."""
        deadline = time.monotonic() + _SERVE_SECONDS
        while time.monotonic() < deadline:
            version = self._project.model_version()
            if version != base_version:
                self._project.retrieve_predictions(self._held_out)
                found = [self._project.prediction(task, sample, version) for task, sample in self._held_out.items()]
                if all(prediction is not None for prediction in found):
                    regions = sum(prediction.regions for prediction in found if prediction is not None)
                    self._screen.say(f"{version}: {regions} regions in {len(found)} held-out tasks")
                    return version, [prediction for prediction in found if prediction is not None]
            time.sleep(_POLL)
        raise StartError(
            f"Label Studio got no predictions of the new version within {_SERVE_SECONDS:.0f} s; predict's log: "
            f"{self._functions.process('predict').log}"
        )

    def _measure(self, found: list[Predicted]) -> Quality:
        compared = [
            Compared(f"{sample.name}/{number}", frame, expert)
            for sample, prediction in zip(self._held_out.values(), found, strict=True)
            for number, (frame, expert) in enumerate(zip(prediction.frames, sample.expert, strict=True))
        ]
        return measure(compared, self._project.demo.control.yolo_task)


def _nothing(sample: Sample) -> Predicted:
    """An empty prediction: without a first version there may be no model for the yolo task."""
    return Predicted(0, tuple(each.only(np.array([], dtype=np.int64)) for each in sample.expert))


def _show(bar: Bar, progress: Progress | None) -> None:
    if progress is None:
        bar.at(0, "the job starts")
        return
    text: str = progress.phase
    if progress.phase == "train" and progress.eta_seconds is not None:
        text = f"epochs, about {progress.eta_seconds:.0f} s to go"
    for name in ("mAP50", "top1"):
        if (value := progress.metrics.get(name)) is not None:
            text += f", {name} on val {value:.2f}"
    bar.at(progress.epoch or 0, text)
