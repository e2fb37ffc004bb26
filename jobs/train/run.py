"""The use case: take the claim, freeze the data, let every control learn, release. Killed anywhere, it goes on."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobs.train.attempt import MIN_TO_TRAIN, Attempt
from jobs.train.control import Verdict
from jobs.train.controls import HOPELESS, learn_all
from jobs.train.data import snapshot as snapshots
from jobs.train.data.addresses import reference
from jobs.train.data.annotations import ExportedTask, NothingToLearn
from jobs.train.data.files import ImageFiles
from jobs.train.data.snapshot import Snapshot
from jobs.train.heartbeat import Heartbeat
from jobs.train.patient_store import PatientStore
from jobs.train.progress import ProgressWriter
from jobs.train.training import Trainer, TrainingSettings
from shared.errors import (
    ClaimLost,
    LabelConfigError,
    LabelloopError,
    NotFound,
    ProjectGone,
    SettingsError,
    StoreError,
)
from shared.labelstudio.api import ProjectState
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import CONTROL_TASKS, Control
from shared.media.fetch import Fetcher
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims, keys
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, RunOutcome
from shared.state.keeping import Keep
from shared.state.pruning import prune
from shared.state.registry import Registry
from shared.state.runs import Baseline, RunRequest

logger = logging.getLogger(__name__)

DONE, FAILED, INTERRUPTED = 0, 1, 143


class Stopped(BaseException):
    """The machine wants this process to end (SIGTERM): no `except Exception` on the way may swallow it."""


class Exporter(Protocol):
    """What reads a project, patiently."""

    def project(self, project_id: int) -> ProjectState:
        """Counters, config and Label Studio's clock. Raises ProjectGone, Unauthorized, LabelStudioError."""

    def tasks(self, project_id: int) -> Iterator[ExportedTask]:
        """In the order of their ids. Raises ProjectGone, Unauthorized, LabelStudioError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the job is made of."""

    store: ObjectStore
    project_uid: str
    exporter: Exporter
    images: Fetcher
    videos: Fetcher
    trainer: Trainer
    settings: Settings
    folder: Path  # scratch of this run
    adopt: Callable[[str], str] = reference  # what stands for an image's address in frozen annotations
    image_key: Callable[[str], str] | None = (
        None  # under which the store keeps the image of an address; None: it does not
    )


def run(parts: Parts, run_id: str, *, nonce: str) -> int:
    """Execute one attempt; the exit code. `nonce` is new for every process."""
    jobs, settings = Jobs(parts.store, parts.project_uid), parts.settings
    try:
        claim = jobs.update(claims.start, run_id, nonce=nonce, lifetime=settings.claim_lifetime).held
    except ClaimLost as error:
        logger.info(f"nothing to do: {error}", extra={"event": "nothing_to_do", "run_id": run_id})
        return DONE
    parts.folder.mkdir(parents=True, exist_ok=True)
    abort, *earlier = (parts.folder / f"abort-{attempt}" for attempt in range(claim.attempt, 0, -1))
    for killed in earlier:  # on this machine: what is left of it must not train beside us
        killed.touch()
    heartbeat = Heartbeat(
        jobs, claim, lifetime=settings.claim_lifetime, longest_run=settings.longest_run, on_lost=abort.touch
    )
    work = _Work(parts, claim, heartbeat, ProgressWriter(jobs, run_id, claim.attempt), abort)
    with heartbeat:
        try:
            try:
                outcome, message = work.do()
            except NothingToLearn as error:  # all was read: only other annotations, or another config, change that
                outcome, message = "nothing_to_learn", str(error)
            work.release(outcome, message)
        except ClaimLost as error:
            return _lost(error)
        except HOPELESS as error:
            return work.fail(error)
        except (Stopped, KeyboardInterrupt):
            abort.touch()  # the processes of several GPUs outlive the one that started them
            return work.interrupt("the machine asked the job to stop (SIGTERM)", preempted=True)
        except Exception as error:
            if heartbeat.lost:
                return _lost(error)
            logger.error(
                "the attempt failed, the next one may succeed",
                exc_info=not isinstance(error, LabelloopError),  # those say what happened in their message
                extra={"event": "attempt_failed", "error": str(error)},
            )
            return work.interrupt(_sentence(error))
    work.sweep()
    return DONE


class _Work:
    """One attempt's steps, and the ways in which it ends."""

    def __init__(self, parts: Parts, claim: Claim, heartbeat: Heartbeat, progress: ProgressWriter, abort: Path) -> None:
        self._parts = parts
        self._claim = claim
        self._heartbeat = heartbeat
        self._store = PatientStore(parts.store, heartbeat)
        self._jobs = Jobs(self._store, parts.project_uid)
        self._progress = progress
        self._abort = abort
        self._baseline: Baseline | None = None  # until the export has read what Label Studio holds
        self._snapshot: Snapshot | None = None

    def do(self) -> tuple[RunOutcome, str]:
        parts, claim = self._parts, self._claim
        try:
            request = self._jobs.runs.request(claim.run_id)
        except NotFound as error:
            raise SettingsError(f"run {claim.run_id} has no request: {error}") from error
        settings = TrainingSettings.of(request.settings, parts.settings)
        self._heartbeat.allow(settings.longest_run)
        snapshot = self._freeze(request, settings)
        if snapshot is None:
            return "unchanged", "no annotation changed since the last run"
        self._baseline, self._snapshot = snapshot.header.baseline, snapshot
        if not snapshot.header.tasks:
            raise NothingToLearn("the project has no annotated task (skipped ones do not count)")
        self._jobs.update(claims.lower_val_border, snapshot.header.border)  # before anything learns
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
                videos=parts.videos,
            ),
            heartbeat=self._heartbeat,
            progress=self._progress,
            claim=claim,
            snapshot=snapshot,
            settings=settings,
            folder=parts.folder,
            abort=self._abort,
            fetch_concurrency=parts.settings.fetch_concurrency,
            seconds_left=_countdown(self._store, claim, settings.longest_run),
            min_seconds=MIN_TO_TRAIN * settings.longest_run / len(controls),
            last=claim.attempt - claim.preempted >= parts.settings.attempts,
        )
        return _summary(*learn_all(attempt, controls))

    def release(self, outcome: RunOutcome, message: str) -> None:
        self._jobs.update(claims.release, self._claim, outcome=outcome, baseline=self._baseline, message=message)
        self._progress.phase("unchanged" if outcome == "unchanged" else "finished", message=message)

    def fail(self, error: Exception) -> int:
        """For errors that the next attempt would meet again. What the run was started for stays due."""
        logger.error(str(error), extra={"event": "run_failed", "error": type(error).__name__})
        try:
            if isinstance(error, ProjectGone):
                self._jobs.update(claims.close)
            self._jobs.update(claims.release, self._claim, outcome="failed", message=str(error))
        except ClaimLost as lost:
            return _lost(lost)
        except StoreError as refusal:
            logger.error(f"the end of the run could not be noted: {refusal}", extra={"event": "end_not_noted"})
            return FAILED
        self._progress.phase("failed", message="", error=str(error))
        self.sweep()
        return FAILED

    def interrupt(self, sentence: str, *, preempted: bool = False) -> int:
        """Let the claim expire at once, so that the next sweep starts the next attempt. Waits out nothing."""
        jobs = Jobs(self._parts.store, self._parts.project_uid)
        try:
            jobs.update(
                claims.interrupt, self._claim, sentence, preempted=preempted, got_further=self._progress.got_further
            )
        except ClaimLost as error:
            return _lost(error)
        except StoreError as error:
            logger.error(
                f"the claim could not be given back, it expires by itself: {error}", extra={"event": "interrupt_failed"}
            )
        self._progress.phase("interrupted", message="the next attempt goes on from here", error=sentence)
        return INTERRUPTED

    def sweep(self) -> None:
        """Remove from the store what neither this run nor any other needs any more."""
        try:
            prune(self._parts.store, self._parts.project_uid, Keep.of(self._parts.settings), self._images_in_use())
        except StoreError as error:
            logger.warning(f"the store was not pruned: {error}", extra={"event": "prune_failed"})

    def _images_in_use(self) -> frozenset[str] | None:
        """Keys of the images in the store that the annotated tasks name; None if this run did not read them."""
        folder, key_of = keys.images(self._parts.project_uid), self._parts.image_key
        if key_of is None:
            return frozenset()
        if self._snapshot is None:
            return None
        addresses = (one for task in self._snapshot.tasks() for one in task.data.values() if isinstance(one, str))
        return frozenset(f"{folder}/{key_of(address)}" for address in addresses)

    def _freeze(self, request: RunRequest, settings: TrainingSettings) -> Snapshot | None:
        """The run's data, frozen by an earlier attempt or now; None if nothing changed since the last run."""
        parts = self._parts
        key, path = keys.run(parts.project_uid, request.run_id, "dataset.json"), parts.folder / "dataset.json"
        if snapshot := snapshots.fetch(self._store, key, path):
            return snapshot
        self._progress.phase("export")
        project = parts.exporter.project(request.project_id)
        if project.counters.uid != parts.project_uid:
            raise SettingsError(
                f"LABEL_STUDIO_URL answers project {project.counters.uid}, the run is for {parts.project_uid}: set the "
                "address of the Label Studio that this project belongs to"
            )
        record = self._jobs.read()
        snapshot = snapshots.freeze(
            parts.exporter.tasks(request.project_id),
            project.counters,
            project.read_at,
            _controls(project.counters.label_config),
            path,
            val_fraction=settings.val_fraction,
            border=record.val_border,
            check=self._heartbeat.check,
            adopt=parts.adopt,
        )
        self._baseline = snapshot.header.baseline
        last = record.baseline
        if last and last.digest == snapshot.header.baseline.digest and not self._claim.forced:
            return None
        return snapshots.publish(snapshot, self._store, key)


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
    """Seconds until all attempts have taken `longest_run`; the start is a moment of the store's clock."""
    end = time.monotonic() + longest_run - claim.spent - (store.now() - claim.started_at).total_seconds()
    return lambda: max(0.0, end - time.monotonic())


def _lost(error: Exception) -> int:
    logger.warning(f"another attempt goes on with the run: {error}", extra={"event": "claim_lost"})
    return DONE


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, LabelloopError) else f"{type(error).__name__}: {error}"[:500]
