"""Several workers of one run: the one that holds the claim leads, the others work as long as it does.

`shares` says who writes what.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from jobs.prelabel.pages import PagesWriter, round_of
from jobs.prelabel.parts import Parts
from jobs.prelabel.ports import Part
from jobs.prelabel.progress import ProgressWriter
from jobs.prelabel.shares import Shares, Written
from shared import tracing
from shared.errors import ClaimLost, LabelloopError, StoreError
from shared.job_signals import Stopped
from shared.objectstore import ObjectStore
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord
from shared.state.spending import Spending

logger = logging.getLogger(__name__)


def lead(
    shares: Shares, pages: PagesWriter, heartbeat: Heartbeat, progress: ProgressWriter, *, pause: float
) -> Written:
    """Write shares until all are written, by whom ever. Not complete if this version is not to be shown any more.

    `pause` in seconds, between two looks at what the others have done. Raises BudgetSpent, and what a step raises.
    """

    def tell() -> None:
        progress.write(shares.seen())

    while _write_free(shares, pages, heartbeat, tell) and pages.current():
        heartbeat.check()
        heartbeat.patiently(tell)
        if heartbeat.patiently(shares.written).complete:
            break
        pages.check_budget()
        time.sleep(pause)
    return heartbeat.patiently(shares.written)


def leaders_claim(record: JobsRecord, run_id: str) -> Claim | None:
    """The claim of a run that another worker leads now; None if this one is not needed. `record`: as `Jobs` sees it."""
    claim = record.training
    if claim is None or claim.run_id != run_id or claim.state != "running" or claim.nonce is None:
        return None
    return claim if claim.workers > 1 else None


def follow(parts: Parts, jobs: Jobs, claim: Claim, *, nonce: str) -> None:
    """Write what shares are free while another worker leads. Raises what a step raises; ClaimLost once nobody does."""
    settings = parts.settings
    heartbeat = _Following(jobs, claim, parts.store, lifetime=settings.claim_lifetime, longest_run=settings.longest_run)
    names: dict[str, str | int] = {"project": parts.project_uid, "run": claim.run_id, "attempt": claim.attempt}
    with tracing.span("worker", claim.trace, **names), heartbeat:
        try:
            round_ = round_of(parts, jobs, heartbeat, claim)
            pages = PagesWriter(parts, heartbeat, Spending(parts.store, parts.budget), round_)
            shares = Shares(
                parts.store, parts.project_uid, claim, nonce, round_.version, lifetime=settings.claim_lifetime
            )
            heartbeat.shares = shares
            _write_free(shares, pages, heartbeat, tell=lambda: None)
        except LabelloopError as error:
            if heartbeat.lost:
                raise ClaimLost(f"run {claim.run_id} is led by nobody any more") from error
            raise
    logger.info("no share is left for this worker", extra={"event": "worker_done", **names})


class _Following(Heartbeat):
    """Looks whether the leader still renews the claim, and says that this worker's share is worked on."""

    def __init__(self, jobs: Jobs, claim: Claim, store: ObjectStore, *, lifetime: float, longest_run: float) -> None:
        super().__init__(jobs, claim, lifetime=lifetime, longest_run=longest_run, on_lost=lambda: None)
        self._store = store
        self.shares: Shares | None = None

    def _renew(self) -> None:
        ours, now = self._claim, self._jobs.read().training
        if now is None or (now.run_id, now.fence, now.nonce) != (ours.run_id, ours.fence, ours.nonce):
            raise ClaimLost(f"the worker that led run {ours.run_id} has ended")
        if self._store.now() >= now.expires_at:
            raise ClaimLost(f"the worker that led run {ours.run_id} does not renew its claim any more")
        if self.shares:
            self.shares.beat()


def _write_free(shares: Shares, pages: PagesWriter, heartbeat: Heartbeat, tell: Callable[[], None]) -> bool:
    """Write one share after the other that nobody works on; False if this version is not to be shown any more."""
    while part := heartbeat.patiently(shares.take):
        report = partial(_report, shares, part, tell)
        try:
            written = pages.write(part, report)
            heartbeat.patiently(shares.report, part, 0, written)
        except (Exception, Stopped, KeyboardInterrupt):
            with suppress(StoreError, ClaimLost):
                shares.report(part, 0, given_up=True)
            raise
        if not written.complete:
            return False
    return True


def _report(shares: Shares, part: Part, tell: Callable[[], None], seen: int) -> None:
    """Say how far a share is; an outage of the store only delays that. Raises ClaimLost."""
    try:
        shares.report(part, seen)
        tell()
    except StoreError as error:
        logger.warning(f"progress was not written: {error}", extra={"event": "progress_failed"})
