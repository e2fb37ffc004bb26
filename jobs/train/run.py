"""One attempt of a run: take the claim, do the work, end.

It may be killed at any time: the next attempt continues from what it left in the store.
"""

import logging
from contextlib import closing

from jobs.train.checkpoints.spool import finish_file_of
from jobs.train.controls import PERMANENT
from jobs.train.data.annotations import NothingToLearn
from jobs.train.ending import DONE, Ending
from jobs.train.parts import Parts
from jobs.train.progress import ProgressWriter
from jobs.train.work import Work
from shared import tracing
from shared.errors import BudgetSpent, ClaimLost, LabelloopError, sentence_of
from shared.job_signals import TAKEN, Stopped
from shared.state import claims
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.spending import Spending

logger = logging.getLogger(__name__)


def run(parts: Parts, run_id: str, *, nonce: str) -> int:
    """Execute one attempt; answers the exit code (see `jobs.train.ending`). `nonce` is new for every process.

    Raises StoreError if the claim cannot be read or taken, OSError if the scratch folder cannot be made.
    """
    jobs, settings = Jobs(parts.store, parts.project_uid), parts.settings
    try:
        record = jobs.update(claims.start, run_id, nonce=nonce, lifetime=settings.claim_lifetime)
        claim = record.held
    except ClaimLost as error:
        logger.info(f"nothing to do: {error}", extra={"event": "nothing_to_do", "run_id": run_id})
        return DONE
    parts.folder.mkdir(parents=True, exist_ok=True)
    abort, *earlier = (parts.folder / f"abort-{attempt}" for attempt in range(claim.attempt, 0, -1))
    for killed in earlier:  # a process of it that still runs on this machine must stop training
        killed.touch()
    spending = Spending(parts.store, parts.budget, on_over=finish_file_of(abort).touch)
    spending.look(record)
    heartbeat = Heartbeat(
        jobs,
        claim,
        lifetime=settings.claim_lifetime,
        longest_run=settings.longest_run,
        on_lost=abort.touch,
        on_renewed=spending.look,
    )
    progress = ProgressWriter(jobs, run_id, claim.attempt)
    work, ending = Work(parts, claim, heartbeat, progress, spending, abort), Ending(parts, claim, heartbeat, progress)
    span = tracing.span("job", claim.trace, project=parts.project_uid, run=run_id, attempt=claim.attempt)
    with span, closing(progress), heartbeat:
        try:
            try:
                outcome, message = work.do()
            except NothingToLearn as error:  # all was read: only other annotations, or another config, change that
                outcome, message = "nothing_to_learn", str(error)
            ending.release(outcome, message, work.baseline, suspects=work.suspects)
        except ClaimLost as error:
            return ending.lost(error)
        except PERMANENT as error:
            return ending.fail(error, work.snapshot)
        except BudgetSpent as error:
            return ending.interrupt(str(error), preempted=True)
        except (Stopped, KeyboardInterrupt) as stopped:
            abort.touch()  # the processes of several GPUs outlive the one that started them
            return ending.interrupt(str(stopped) or TAKEN, preempted=True)
        except Exception as error:
            if heartbeat.lost:
                return ending.lost(error)
            logger.error(
                "the attempt failed, the next one may succeed",
                exc_info=not isinstance(error, LabelloopError),  # their message is enough
                extra={"event": "attempt_failed", "error": str(error)},
            )
            return ending.interrupt(sentence_of(error))
    ending.sweep(work.snapshot)
    return DONE
