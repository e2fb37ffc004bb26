"""One attempt of a prelabelling: take the claim, predict what has no prediction yet, store it, show it.

It may be killed at any time: the next attempt reads from Label Studio what is there.
"""

import logging

from jobs.prelabel.ending import DONE, FAILED, INTERRUPTED, end, fail, interrupt, lost, recent
from jobs.prelabel.pages import PagesWriter, Round, round_of
from jobs.prelabel.parts import Parts
from jobs.prelabel.ports import WHOLE
from jobs.prelabel.progress import ProgressWriter
from jobs.prelabel.shares import Shares, Written
from jobs.prelabel.workers import follow, lead, leaders_claim
from shared import tracing
from shared.errors import (
    BudgetSpent,
    ClaimLost,
    LabelConfigError,
    LabelloopError,
    LabelStudioError,
    ModelError,
    ProjectGone,
    SettingsError,
    Unauthorized,
    sentence_of,
)
from shared.job_signals import TAKEN, Stopped
from shared.labelstudio.api import BY_SCORE
from shared.state import claims
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, Prelabelled
from shared.state.model_version import has_version
from shared.state.projects import read_project, write_project
from shared.state.registry import Registry
from shared.state.spending import Spending

logger = logging.getLogger(__name__)

_PERMANENT = (LabelConfigError, ModelError, ProjectGone, SettingsError, Unauthorized)


def run(parts: Parts, run_id: str, *, nonce: str) -> int:
    """Execute one attempt; answers the exit code. `nonce` is new for every process.

    Raises StoreError if the claim cannot be read or taken.
    """
    jobs, settings = Jobs(parts.store, parts.project_uid, prelabelling=True), parts.settings
    try:
        record = jobs.update(claims.start, run_id, nonce=nonce, lifetime=settings.claim_lifetime)
        claim = record.held
    except ClaimLost as error:
        if claim_of_leader := leaders_claim(jobs.read(), run_id):
            return _follow(parts, jobs, claim_of_leader, nonce)
        logger.info(f"nothing to do: {error}", extra={"event": "nothing_to_do", "run_id": run_id})
        return DONE
    spending = Spending(parts.store, parts.budget, jobs=claim.workers)
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
            done, message = _Work(parts, jobs, claim, nonce, heartbeat, spending).do()
            heartbeat.patiently(jobs.update, end, claim, done, message)
        except ClaimLost as error:
            return lost(error)
        except _PERMANENT as error:
            return fail(jobs, claim, error)
        except BudgetSpent as error:  # nothing is shown before all of it is there
            return interrupt(jobs, claim, str(error), preempted=True)
        except (Stopped, KeyboardInterrupt) as stopped:
            return interrupt(jobs, claim, str(stopped) or TAKEN, preempted=True)
        except Exception as error:
            if heartbeat.lost:
                return lost(error)
            logger.error(
                "the attempt failed, the next one may succeed",
                exc_info=not isinstance(error, LabelloopError),  # their message is enough
                extra={"event": "attempt_failed", "error": str(error)},
            )
            return interrupt(jobs, claim, sentence_of(error))
    logger.info(message, extra={"event": "prelabelled", "project": parts.project_uid, "version": done.model_version})
    return DONE


def _follow(parts: Parts, jobs: Jobs, claim: Claim, nonce: str) -> int:
    """Work beside the process that leads the run; what becomes of the run is its affair."""
    try:
        follow(parts, jobs, claim, nonce=nonce)
    except ClaimLost as error:
        return lost(error)
    except (Stopped, KeyboardInterrupt) as stopped:
        logger.warning(str(stopped) or TAKEN, extra={"event": "worker_interrupted", "run_id": claim.run_id})
        return INTERRUPTED
    except Exception as error:
        logger.error(
            "this worker ends, another one does its share",
            exc_info=not isinstance(error, LabelloopError),
            extra={"event": "worker_failed", "error": str(error)},
        )
        return FAILED
    return DONE


class _Work:
    """The steps of one attempt up to its end."""

    def __init__(
        self, parts: Parts, jobs: Jobs, claim: Claim, nonce: str, heartbeat: Heartbeat, spending: Spending
    ) -> None:
        self._parts = parts
        self._jobs = jobs
        self._claim = claim
        self._nonce = nonce
        self._heartbeat = heartbeat
        self._spending = spending

    def do(self) -> tuple[Prelabelled, str]:
        """Write what is missing; answers what is there now, and a sentence. Raises what a step raises."""
        parts = self._parts
        round_ = round_of(parts, self._jobs, self._heartbeat, self._claim)
        pages = PagesWriter(parts, self._heartbeat, self._spending, round_)
        written = self._write(round_, pages)
        shown, removed = False, 0
        if current := pages.current():
            self._heartbeat.confirm()
            shown = parts.target.show(round_.version)
            if shown:
                self._heartbeat.patiently(self._hand_out, round_.version)
                removed = self._prune(round_)
        done = Prelabelled(
            model_version=round_.version,
            # 0: so that the next run looks at all tasks, and shows it
            through=written.through if current and written.complete else 0,
            shown=shown,
            left=written.left,
            why=written.why,
            predicted=written.stored,
            empty=written.empty,
            written_at=self._heartbeat.patiently(parts.store.now),
            under=self._claim.under,
        )
        return done, _sentence(written, removed, current=current, shown=shown, renewing=round_.renewing)

    def _write(self, round_: Round, pages: PagesWriter) -> Written:
        """Everything, alone or together with the other workers."""
        parts, claim, version = self._parts, self._claim, round_.version
        progress = ProgressWriter(self._jobs, claim.run_id, version, parts.target.waiting(round_.after))
        if claim.workers == 1:
            return pages.write(WHOLE, progress.write)
        shares = Shares(
            parts.store, parts.project_uid, claim, self._nonce, version, lifetime=parts.settings.claim_lifetime
        )
        return lead(shares, pages, self._heartbeat, progress, pause=parts.pause)

    def _hand_out(self, version: str) -> None:
        """Have tasks handed out by the scores of a trained version; of base weights, as before."""
        parts = self._parts
        project, now = read_project(parts.store, parts.project_uid), parts.target.sampling()
        assert project is not None  # it is connected
        if parts.settings.orders and has_version(version):
            if now != BY_SCORE:
                self._note_sampling(now)
                parts.target.hand_out(BY_SCORE)
        elif project.sampling_before:
            if now == BY_SCORE:
                parts.target.hand_out(project.sampling_before)
            self._note_sampling("")

    def _note_sampling(self, before: str) -> None:
        write_project(self._parts.store, self._parts.project_uid, sampling_before=before)

    def _prune(self, round_: Round) -> int:
        """Remove what was superseded a while ago; nothing if it is not known what was shown before.

        What Label Studio refuses stays: the predictions of this run are there and shown.
        """
        before = self._heartbeat.patiently(self._jobs.read).prelabelled
        if before is None:
            return 0
        now = self._heartbeat.patiently(self._parts.store.now)
        keep = {round_.version, before.model_version, *recent(before, now)}
        trained = self._heartbeat.patiently(Registry(self._parts.store, self._parts.project_uid).controls)
        controls = {*trained, *(control.name for control in round_.controls)}  # also those that the config lacks by now
        try:
            return self._parts.target.prune(keep, sorted(controls))
        except LabelStudioError as error:
            logger.warning(f"superseded predictions stay for now: {error}", extra={"event": "prune_refused"})
            return 0


def _sentence(written: Written, removed: int, *, current: bool, shown: bool, renewing: bool) -> str:
    parts = [f"{written.stored} predictions of {written.version} were stored"]
    if renewing:
        parts.append("they replace those by another labeling config or other settings")
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
