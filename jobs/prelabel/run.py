"""One attempt of a prelabelling: take the claim, predict what has no prediction yet, store it, show it.

It may be killed at any time: the next attempt reads from Label Studio what is there.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from jobs.prelabel.ports import Page, Target
from jobs.prelabel.progress import ProgressWriter
from jobs.prelabel.writer import Writer
from shared import tracing
from shared.control_group import in_control_group
from shared.errors import (
    BudgetSpent,
    ClaimLost,
    LabelConfigError,
    LabelloopError,
    LabelStudioError,
    ModelError,
    ProjectGone,
    SettingsError,
    StoreError,
    Unauthorized,
)
from shared.evolve import evolve
from shared.job_signals import TAKEN, Stopped
from shared.labelstudio.api import BY_SCORE
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims
from shared.state.budget import NO_BUDGET, Budget
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord, Prelabelled, RunOutcome
from shared.state.model_version import has_version
from shared.state.projects import Project, read_project, write_project
from shared.state.spending import Spending

logger = logging.getLogger(__name__)

DONE, FAILED, INTERRUPTED = 0, 1, 143
"""Exit codes: the run has ended, or is another process's; it failed for good; the next attempt continues it."""
_GRACE = timedelta(hours=12)
"""For so long the predictions of a superseded version stay: Label Studio refuses the annotation of a page that was
opened before, if the prediction that it shows is gone."""
_PERMANENT = (LabelConfigError, ModelError, ProjectGone, SettingsError, Unauthorized)


class Models(Protocol):
    """`jobs.prelabel.models.ChosenModels`."""

    def choose(self, controls: Sequence[Control]) -> str:
        """Load what is served now; answers the model_version of its predictions. Raises ModelError, StoreError."""

    def version(self, controls: Sequence[Control]) -> str:
        """The model_version of what the pointers name now. Raises StoreError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one attempt works with."""

    store: ObjectStore
    project_uid: str
    target: Target
    models: Models
    predict: Callable[[PredictRequest, float], Iterator[Any]]  # as `Predictor.each`
    settings: Settings
    reasons: Callable[[], dict[str, int]] = dict  # why `predict` answered tasks empty so far: reason → tasks
    budget: Budget = NO_BUDGET


def run(parts: Parts, run_id: str, *, nonce: str) -> int:
    """Execute one attempt; answers the exit code. `nonce` is new for every process.

    Raises StoreError if the claim cannot be read or taken.
    """
    jobs, settings = Jobs(parts.store, parts.project_uid, prelabelling=True), parts.settings
    try:
        record = jobs.update(claims.start, run_id, nonce=nonce, lifetime=settings.claim_lifetime)
        claim = record.held
    except ClaimLost as error:
        logger.info(f"nothing to do: {error}", extra={"event": "nothing_to_do", "run_id": run_id})
        return DONE
    spending = Spending(parts.store, parts.budget)
    spending.look(record)
    heartbeat = Heartbeat(
        jobs,
        claim,
        lifetime=settings.claim_lifetime,
        longest_run=settings.longest_run,
        on_lost=lambda: None,
        on_renewed=spending.look,
    )
    with tracing.span("job", claim.trace, project=parts.project_uid, run=run_id, attempt=claim.attempt), heartbeat:
        try:
            done, message = _Work(parts, jobs, run_id, heartbeat, spending).do()
            heartbeat.patiently(jobs.update, _end, claim, done, message)
        except ClaimLost as error:
            return _lost(error)
        except _PERMANENT as error:
            return _fail(jobs, claim, error)
        except BudgetSpent as error:  # nothing is shown before all of it is there
            return _interrupt(jobs, claim, str(error), preempted=True)
        except (Stopped, KeyboardInterrupt) as stopped:
            return _interrupt(jobs, claim, str(stopped) or TAKEN, preempted=True)
        except Exception as error:
            if heartbeat.lost:
                return _lost(error)
            logger.error(
                "the attempt failed, the next one may succeed",
                exc_info=not isinstance(error, LabelloopError),  # their message is enough
                extra={"event": "attempt_failed", "error": str(error)},
            )
            return _interrupt(jobs, claim, str(error) or type(error).__name__)
    logger.info(message, extra={"event": "prelabelled", "project": parts.project_uid, "version": done.model_version})
    return DONE


class _Work:
    """The steps of one attempt up to its end."""

    def __init__(self, parts: Parts, jobs: Jobs, run_id: str, heartbeat: Heartbeat, spending: Spending) -> None:
        self._parts = parts
        self._jobs = jobs
        self._run_id = run_id
        self._heartbeat = heartbeat
        self._spending = spending

    def do(self) -> tuple[Prelabelled, str]:
        """Write what is missing; answers what is there now, and a sentence. Raises what a step raises."""
        parts = self._parts
        state = parts.target.state()
        if state.counters.uid != parts.project_uid:
            raise SettingsError(
                f"LABEL_STUDIO_URL answers project {state.counters.uid}, the run is for {parts.project_uid}: set the "
                "address of the Label Studio that this project belongs to"
            )
        config = state.counters.label_config
        controls = parse_label_config(config)
        version = self._heartbeat.patiently(parts.models.choose, controls)
        written = self._write(config, controls, version)
        shown, removed = False, 0
        if current := self._heartbeat.patiently(self._current, version, controls):
            self._heartbeat.confirm()
            shown = parts.target.show(version)
            if shown:
                self._heartbeat.patiently(self._hand_out, version)
                removed = self._prune(version, controls)
        done = Prelabelled(
            model_version=version,
            through=written.through if current else 0,  # so that the next run looks at all tasks, and shows it
            shown=shown,
            left=written.left,
            why=written.why,
            predicted=written.stored,
            empty=written.empty,
            written_at=self._heartbeat.patiently(parts.store.now),
        )
        return done, _sentence(version, written, removed, current=current, shown=shown)

    def _done(self, version: str) -> int:
        """The task up to which the last run left nothing to do: a few new tasks do not wait for a look at all."""
        before = self._heartbeat.patiently(self._jobs.read).prelabelled
        complete = before is not None and before.model_version == version and not before.left
        return before.through if before and complete else 0

    def _current(self, version: str, controls: Sequence[Control]) -> bool:
        """Whether this version is the one to show: it is served, and nobody has disconnected the project."""
        parts = self._parts
        project = read_project(parts.store, parts.project_uid)
        return project is not None and project.push and parts.models.version(controls) == version

    def _hand_out(self, version: str) -> None:
        """Have tasks handed out by the scores of a trained version; of base weights, as before."""
        parts = self._parts
        project, now = read_project(parts.store, parts.project_uid), parts.target.sampling()
        assert project is not None  # it is connected
        if parts.settings.orders and has_version(version):
            if now != BY_SCORE:
                self._note_sampling(project, now)
                parts.target.hand_out(BY_SCORE)
        elif project.sampling_before:
            if now == BY_SCORE:
                parts.target.hand_out(project.sampling_before)
            self._note_sampling(project, "")

    def _note_sampling(self, project: Project, before: str) -> None:
        parts = self._parts
        write_project(parts.store, parts.project_uid, label_config=project.label_config, sampling_before=before)

    def _prune(self, version: str, controls: Sequence[Control]) -> int:
        """Remove what was superseded a while ago; nothing if it is not known what was shown before.

        What Label Studio refuses stays: the predictions of this run are there and shown.
        """
        before = self._heartbeat.patiently(self._jobs.read).prelabelled
        if before is None:
            return 0
        keep = {version, before.model_version, *_recent(before, self._heartbeat.patiently(self._parts.store.now))}
        try:
            return self._parts.target.prune(keep, [control.name for control in controls])
        except LabelStudioError as error:
            logger.warning(f"superseded predictions stay for now: {error}", extra={"event": "prune_refused"})
            return 0

    def _write(self, config: str, controls: Sequence[Control], version: str) -> "_Written":
        """Predict and store page by page, until all is done or this version is not to be shown any more."""
        parts, left, empty, through = self._parts, 0, 0, self._done(version)
        progress = ProgressWriter(self._jobs, self._run_id, version, parts.target.waiting(through))
        share = parts.settings.control_group
        with Writer(parts.target) as writer:
            for page in _ahead(parts.target.pages(version, through)):
                if not self._heartbeat.patiently(self._current, version, controls):
                    break
                through = page.last
                tasks = [task for task in page.tasks if not in_control_group(parts.project_uid, task.id, share)]
                call = PredictRequest(tasks=tasks, project=parts.project_uid, label_config=config)
                deadline = time.monotonic() + parts.settings.longest_run
                predictions = parts.predict(call, deadline) if tasks else iter(())
                for task, prediction in zip(tasks, predictions, strict=True):
                    self._heartbeat.check()  # else two processes could store the predictions of a page
                    if prediction:
                        assert task.id is not None
                        writer.add(task.id, prediction)
                        empty += not prediction["result"]
                    else:
                        left += 1
                    progress.task()
                progress.page(page.seen)
                if self._spending.seconds_left() <= 0:
                    writer.finish()
                    raise BudgetSpent(f"the other predictions wait: {self._spending.why}")
            writer.finish()
        why = parts.reasons() | ({"not_stored": writer.refused} if writer.refused else {})
        return _Written(writer.stored, left + writer.refused, through, empty, why)


class _Written(NamedTuple):
    """What one attempt stored."""

    stored: int  # predictions
    left: int  # tasks without one
    through: int  # id of the last task
    empty: int  # predictions in which nothing was found
    why: dict[str, int]  # reason → tasks without one


def _ahead(pages: Iterator[Page]) -> Iterator[Page]:
    """The pages, each asked for while the one before is worked on."""
    pool = ThreadPoolExecutor(1, "pages")
    try:
        following = pool.submit(next, pages, None)
        while (page := following.result()) is not None:
            following = pool.submit(next, pages, None)
            yield page
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _end(record: JobsRecord, now: datetime, claim: Claim, done: Prelabelled, message: str) -> JobsRecord | None:
    """`claims.release`, together with what was done."""
    outcome: RunOutcome = "prelabelled"
    ended = claims.release(record, now, claim, outcome=outcome, message=message)
    if ended is None or (before := record.prelabelled) is None:
        return ended and evolve(ended, prelabelled=evolve(done, tries=min(done.left, 1)))
    same = before.model_version == done.model_version
    superseded = {name: at for name, at in _recent(before, now).items() if name != done.model_version}
    superseded |= {} if same else {before.model_version: now}
    tries = (before.tries if same else 0) + 1 if done.left else 0
    return evolve(ended, prelabelled=evolve(done, tries=tries, superseded=superseded))


def _recent(before: Prelabelled, now: datetime) -> dict[str, datetime]:
    return {name: at for name, at in before.superseded.items() if at > now - _GRACE}


def _lost(error: Exception) -> int:
    logger.warning(f"this attempt ends: {error}", extra={"event": "claim_lost"})
    return DONE


def _fail(jobs: Jobs, claim: Claim, error: LabelloopError) -> int:
    """End the run for an error that the next attempt would meet again."""
    logger.error(str(error), extra={"event": "run_failed", "error": type(error).__name__})
    try:
        if isinstance(error, ProjectGone):
            jobs.update(claims.close)
        jobs.update(claims.release, claim, outcome="failed", message=str(error))
    except ClaimLost as lost:
        return _lost(lost)
    except StoreError as refusal:
        logger.error(f"the end of the run could not be recorded: {refusal}", extra={"event": "end_not_noted"})
    return FAILED


def _interrupt(jobs: Jobs, claim: Claim, sentence: str, *, preempted: bool = False) -> int:
    """Let the claim expire at once, so that the next sweep starts the next attempt."""
    try:
        jobs.update(claims.interrupt, claim, sentence, preempted=preempted)
    except ClaimLost as error:
        return _lost(error)
    except StoreError as error:
        logger.error(f"the claim expires by itself: {error}", extra={"event": "interrupt_failed"})
    return INTERRUPTED


def _sentence(version: str, written: _Written, removed: int, *, current: bool, shown: bool) -> str:
    parts = [f"{written.stored} predictions of {version} were stored"]
    if written.empty:
        parts.append(f"in {written.empty} of them nothing was found")
    if written.left:
        reasons = ", ".join(f"{count} {reason}" for reason, count in written.why.items())
        parts.append(f"{written.left} tasks have none{f' ({reasons})' if reasons else ''}: the log says why")
    if not current:
        parts.append("it is not shown: another version is served by now, or the project was disconnected")
    elif not shown:
        parts.append("annotators are not shown this version: there is no prediction of it")
    if removed:
        parts.append(f"{removed} predictions of superseded versions were removed")
    return "; ".join(parts)
