"""Looks after the run that is active: extends its claim, launches its next attempt, or ends it."""

from collections.abc import Callable
from datetime import datetime

from functions.train_trigger.attempts import Attempts
from functions.train_trigger.decide import Nothing, Policy, Wait
from functions.train_trigger.decide_claim import (
    Extend,
    GiveUp,
    NextAttempt,
    Requeue,
    RetryLaunch,
    Withdraw,
    decide_claim,
    ended,
    has_expired,
    killed,
)
from functions.train_trigger.reconciled import Reconciled
from shared.errors import ClaimLost
from shared.settings import Settings
from shared.state import launches
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim


def attend(
    attempts: Attempts,
    jobs: Jobs,
    claim: Claim,
    settings: Settings,
    now: datetime,
    *,
    forced: bool,
    sweeping: bool,
    budget: Callable[[], Wait | None],
) -> Reconciled:
    """Do what the active run needs now. Raises StoreError.

    The launcher is asked about the job if the claim has expired, or if `sweeping`. `forced`: a person asked, so a
    launch that was refused is tried again without a pause. `budget`: whether the next attempt has to wait.
    """
    policy = Policy.of(settings)
    expired = has_expired(claim, policy, now)
    job = attempts.status(claim.job) if claim.job and (sweeping or expired) else None
    silent = killed(claim) and (expired or ended(claim, job))
    kept_an_epoch = silent and jobs.runs.kept_an_epoch(claim.run_id, claim.attempt)
    decision = decide_claim(claim, job, policy, now, forced=forced, kept_an_epoch=kept_an_epoch)
    if isinstance(decision, NextAttempt | RetryLaunch) and (waits := budget()):
        decision = waits
    launching, running = policy.launching_lifetime.total_seconds(), policy.running_lifetime.total_seconds()
    try:
        if isinstance(decision, NextAttempt | Requeue):
            requeued = isinstance(decision, Requeue)
            taken = jobs.update(
                launches.next_attempt,
                claim,
                lifetime=launching,
                error=decision.error,
                preempted=decision.preempted,
                requeued=requeued,
            ).held
            if requeued:
                return Reconciled("active", decision.error, claim.run_id)
            return attempts.launch(jobs, taken, settings, decision.error)
        if isinstance(decision, RetryLaunch):
            taken = jobs.update(launches.retry_launch, claim, lifetime=launching).held
            return attempts.launch(jobs, taken, settings, decision.error)
        if isinstance(decision, Withdraw):
            return attempts.withdraw(jobs, claim, decision.error)
        if isinstance(decision, GiveUp):
            return attempts.give_up(jobs, claim, decision.error)
    except ClaimLost as error:
        return Reconciled("active", str(error), claim.run_id)
    if isinstance(decision, Extend):
        assert job is not None
        jobs.update(
            launches.extend,
            claim,
            lifetime=running if claim.state == "running" else launching,
            waiting=job.state == "queued",
            why=job.why,
            stuck=job.stuck,
        )
        said = f"the launcher says that the job of run {claim.run_id} is {job.state}"
        return Reconciled("active", f"{said}: {job.why}" if job.why else said, claim.run_id)
    return Reconciled("active" if isinstance(decision, Nothing) else "waiting", decision.reason, claim.run_id)
