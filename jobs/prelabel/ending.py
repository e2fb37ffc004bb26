"""How an attempt of a prelabelling ends. Functions that answer a number answer the exit code."""

import logging
from datetime import datetime, timedelta

from shared.errors import ClaimLost, LabelloopError, ProjectGone, StoreError
from shared.evolve import evolve
from shared.state import claims, jobs_fields
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord, Prelabelled, RunOutcome

logger = logging.getLogger(__name__)

DONE, FAILED, INTERRUPTED = 0, 1, 143
"""Exit codes: the run has ended, or is another process's; it failed for good; the next attempt continues it."""
_GRACE = timedelta(hours=12)
"""For so long the predictions of a superseded version stay: Label Studio refuses the annotation of a page that was
opened before, if the prediction that it shows is gone."""


def end(record: JobsRecord, now: datetime, claim: Claim, done: Prelabelled, message: str) -> JobsRecord | None:
    """`claims.release`, together with what was done."""
    outcome: RunOutcome = "prelabelled"
    ended = claims.release(record, now, claim, outcome=outcome, message=message)
    if ended is None or (before := record.prelabelled) is None:
        return ended and evolve(ended, prelabelled=evolve(done, tries=min(done.left, 1)))
    same = before.model_version == done.model_version
    superseded = {name: at for name, at in recent(before, now).items() if name != done.model_version}
    superseded |= {} if same else {before.model_version: now}
    tries = (before.tries if same else 0) + 1 if done.left else 0
    return evolve(ended, prelabelled=evolve(done, tries=tries, superseded=superseded))


def recent(before: Prelabelled, now: datetime) -> dict[str, datetime]:
    """Versions that were superseded so short a time ago that their predictions stay → when."""
    return {name: at for name, at in before.superseded.items() if at > now - _GRACE}


def lost(error: Exception) -> int:
    """The claim belongs to another attempt: there is nothing to end."""
    logger.warning(f"this attempt ends: {error}", extra={"event": "claim_lost"})
    return DONE


def fail(jobs: Jobs, claim: Claim, error: LabelloopError) -> int:
    """End the run for an error that the next attempt would meet again."""
    logger.error(str(error), extra={"event": "run_failed", "error": type(error).__name__})
    try:
        if isinstance(error, ProjectGone):
            jobs.update(jobs_fields.close)
        jobs.update(claims.release, claim, outcome="failed", message=str(error))
    except ClaimLost as late:
        return lost(late)
    except StoreError as refusal:
        logger.error(f"the end of the run could not be recorded: {refusal}", extra={"event": "end_not_noted"})
    return FAILED


def interrupt(jobs: Jobs, claim: Claim, sentence: str, *, preempted: bool = False) -> int:
    """Let the claim expire at once, so that the next sweep starts the next attempt."""
    try:
        jobs.update(claims.interrupt, claim, sentence, preempted=preempted)
    except ClaimLost as error:
        return lost(error)
    except StoreError as error:
        logger.error(f"the claim expires by itself: {error}", extra={"event": "interrupt_failed"})
    return INTERRUPTED
