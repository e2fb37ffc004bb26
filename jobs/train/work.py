"""The work of one attempt: write the snapshot and train every control, or prepare what a project is served with."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from jobs.train.attempt import Attempt
from jobs.train.controls import learn_all
from jobs.train.data import snapshot as snapshots
from jobs.train.data.annotations import NothingToLearn
from jobs.train.data.earlier import Earlier, find_earlier
from jobs.train.data.files import ImageFiles
from jobs.train.data.snapshot import Snapshot
from jobs.train.data.snapshot_writer import write_snapshot
from jobs.train.parts import Parts
from jobs.train.patient_store import PatientStore
from jobs.train.preparing import Preparing
from jobs.train.progress import ProgressWriter
from jobs.train.promoting import Verdict
from jobs.train.training import TrainingSettings
from shared.errors import LabelConfigError, LabelloopError, LabelStudioError, NotFound, SettingsError
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import CONTROL_TASKS, Control
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.budget import WORTH_STARTING
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, RunOutcome
from shared.state.model_version import newest_of
from shared.state.projects import read_project
from shared.state.registry import Registry
from shared.state.runs import Baseline, RunRequest
from shared.state.servable import lacks_of
from shared.state.spending import Spending

logger = logging.getLogger(__name__)


class Work:
    """The steps of one attempt up to its end. `baseline`, `snapshot`, `suspects` are set once they are known."""

    def __init__(
        self,
        parts: Parts,
        claim: Claim,
        heartbeat: Heartbeat,
        progress: ProgressWriter,
        spending: Spending,
        abort: Path,
    ) -> None:
        self._parts = parts
        self._claim = claim
        self._heartbeat = heartbeat
        self._store = PatientStore(parts.store, heartbeat)
        self._jobs = Jobs(self._store, parts.project_uid)
        self._progress = progress
        self._spending = spending
        self._abort = abort
        self.baseline: Baseline | None = None  # until the export has read what Label Studio holds
        self.snapshot: Snapshot | None = None
        self.suspects = 0  # annotations that are worth a look

    def do(self) -> tuple[RunOutcome, str]:
        """Train what is due; answers the outcome and a sentence. Raises what a step raises."""
        parts, claim = self._parts, self._claim
        try:
            request = self._jobs.runs.request(claim.run_id)
        except NotFound as error:
            raise SettingsError(f"run {claim.run_id} has no request: {error}") from error
        settings = TrainingSettings.of(request.settings, parts.settings)
        self._heartbeat.set_longest_run(settings.longest_run)
        if claim.kind == "base":
            self._progress.phase("prepare")
            return "prepared", self._prepare(settings)
        snapshot = self._snapshot(request, settings)
        if snapshot is None:
            return "unchanged", "no annotation changed since the last run"
        self.baseline, self.snapshot = snapshot.header.baseline, snapshot
        if not snapshot.header.tasks:
            raise NothingToLearn("the project has no annotated task (skipped ones do not count)")
        controls = _controls(snapshot.header.label_config)
        attempt = Attempt(
            store=self._store,
            raw_store=parts.store,
            jobs=self._jobs,
            registry=Registry(self._store, parts.project_uid),
            trainer=parts.trainer,
            images=ImageFiles(
                parts.images,
                parts.folder / "pictures",
                max_pixels=parts.settings.image_max_pixels,
                image_size=settings.image_size,
                reduced_decoding=settings.reduced_decoding,
                videos=parts.videos,
                concurrency=parts.settings.fetch_concurrency,
            ),
            heartbeat=self._heartbeat,
            progress=self._progress,
            claim=claim,
            snapshot=snapshot,
            settings=settings,
            folder=parts.folder,
            abort=self._abort,
            seconds_left=_countdown(self._store, claim, settings.longest_run),
            spending=self._spending,
            min_part=WORTH_STARTING / len(controls),
            tracker=parts.tracker,
            last=claim.attempt - claim.preempted >= parts.settings.attempts,
        )
        verdicts, failures = learn_all(attempt, controls)
        self.suspects = sum(verdict.suspects for verdict in verdicts)
        return _summary(verdicts, failures)

    def _prepare(self, settings: TrainingSettings) -> str:
        """Make what the project's controls lack; answers a sentence."""
        parts, uid = self._parts, self._parts.project_uid
        project = read_project(self._store, uid)
        controls = parse_label_config(project.label_config) if project else ()
        preparing = Preparing(self._store, uid, parts.trainer, self._claim, self._heartbeat, parts.folder)
        return preparing.make(lacks_of(self._store, uid, controls, settings.base_weights))

    def _snapshot(self, request: RunRequest, settings: TrainingSettings) -> Snapshot | None:
        """The snapshot, of an earlier attempt or made now; None if nothing changed since the last run."""
        parts = self._parts
        key, path = keys.run(parts.project_uid, request.run_id, "dataset.json"), parts.folder / "dataset.json"
        if snapshot := snapshots.download(self._store, key, path):
            return snapshot
        self._progress.phase("export")
        project = parts.exporter.project(request.project_id)
        project.require(parts.project_uid)
        record = self._jobs.read()
        config, before = project.counters.label_config, parts.folder / "earlier.json"
        # A person may start a training since something is wrong: then the annotations of all tasks are read.
        earlier = Earlier() if self._claim.forced else find_earlier(self._store, parts.project_uid, config, before)
        controls = _controls(config)
        snapshot = write_snapshot(
            parts.exporter.tasks(request.project_id, earlier.is_same),
            project,
            controls,
            path,
            val_fraction=settings.val_fraction,
            border=record.val_border or None,  # 0: an older labelloop kept it where nothing was learnt
            check=self._heartbeat.check,
            adopt=parts.adopt,
            earlier=earlier.take,
            taken=self._taken(request.project_id, controls),
        )
        self.baseline = snapshot.header.baseline
        last = record.baseline
        if last and last.digest == snapshot.header.baseline.digest and not self._claim.forced:
            return None
        return snapshots.upload(snapshot, self._store, key)

    def _taken(self, project_id: int, controls: tuple[Control, ...]) -> dict[str, int]:
        """Controls without a version → the highest number that predictions in Label Studio name already.

        They are another store's, that was lost or emptied. A version of the same number would be taken for theirs: its
        predictions would not be written, since they seem to be there.
        """
        registry = Registry(self._store, self._parts.project_uid)
        first = [control.name for control in controls if not registry.numbers(control.name)]
        if not first:
            return {}
        try:
            shown = self._parts.exporter.shown_versions(project_id)
        except LabelStudioError as error:  # what follows needs Label Studio too, and says so
            logger.warning(f"whose predictions there are is not known: {error}", extra={"event": "versions_unknown"})
            return {}
        taken = {name: number for name in first if (number := newest_of(shown, name))}
        for name, number in taken.items():
            logger.warning(
                f"Label Studio holds predictions of {name}:v{number} from before this store: "
                f"the first version is v{number + 1}",
                extra={"event": "numbers_taken", "control": name, "version": number},
            )
        return taken


def _controls(label_config: str) -> tuple[Control, ...]:
    controls = parse_label_config(label_config)
    if not controls:
        tags = ", ".join(f"<{tag}>" for tag in CONTROL_TASKS)
        raise LabelConfigError(
            f"the labeling config has no control that labelloop trains: it needs one of {tags} with labels, on an "
            "image or a video that is taken from the task's data"
        )
    return controls


def _summary(verdicts: list[Verdict], failures: list[LabelloopError]) -> tuple[RunOutcome, str]:
    """The run's outcome. Raises a failure if no control was promoted: one that is more than NothingToLearn, if any."""
    message = "; ".join([verdict.message for verdict in verdicts] + [str(error) for error in failures])
    if any(verdict.outcome == "promoted" for verdict in verdicts):
        return "promoted", message
    if failures:
        worst = next((error for error in failures if not isinstance(error, NothingToLearn)), failures[0])
        raise type(worst)(message)
    return "rejected", message


def _countdown(store: ObjectStore, claim: Claim, longest_run: float) -> Callable[[], float]:
    """A function that answers the seconds until all attempts together have taken `longest_run` seconds, at least 0."""
    end = time.monotonic() + longest_run - claim.spent - (store.now() - claim.started_at).total_seconds()
    return lambda: max(0.0, end - time.monotonic())
