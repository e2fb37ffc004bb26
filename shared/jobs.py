"""Who may run for a project: claims that expire, fences that only grow, the baseline of the last run, and run files.

One object, `jobs.json`, changed by compare-and-swap only. Claim states: launching (somebody asked a launcher), queued
(the launcher accepted), running (the job took it with a nonce of its own).

Fences grow in steps: a new claim and a rollback take the next thousand, a further attempt of a run the next number. So
a rollback stays above every later attempt of a run that was active when it happened, and none of them can undo it.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from shared.claims import Claim, JobsRecord, LastRun, Outcome
from shared.errors import AlreadyExists, ClaimLost, NotFound, PreconditionFailed
from shared.objectstore import Token
from shared.records import load, new_serial
from shared.runs import Baseline, RunFiles

_FENCE_STEP = 1000
_NO_WAITING: dict[str, object] = {"waits": None, "stuck_since": None}


class Jobs(RunFiles):
    """The jobs record and run files of one project."""

    def read(self) -> JobsRecord:
        """The record as it is now; an empty one before the first claim."""
        return self._read()[0]

    def update(self, change: Callable[[JobsRecord], JobsRecord | None]) -> JobsRecord:
        """Read, `change`, write if unchanged; again if somebody else wrote, for at most 30 s (then PreconditionFailed).

        `change` may be called several times; None leaves the record as it is. Answers the record that is stored.
        """
        written: set[str] = set()
        for attempt in Retrying(
            retry=retry_if_exception_type(PreconditionFailed),
            wait=wait_random_exponential(0.02, max=1),
            stop=stop_after_delay(30),
            reraise=True,
        ):
            with attempt:
                record, token = self._read()
                if record.serial in written:
                    return record  # our own write, whose answer was lost
                changed = change(record)
                if changed is None:
                    return record
                changed = changed.model_copy(update={"serial": new_serial()})
                written.add(changed.serial)
                self._write(changed, token)
                return changed
        raise AssertionError("tenacity returns or raises")

    def claim(
        self,
        *,
        lifetime: float,
        forced: bool,
        registry_fence: int,
        may_claim: Callable[[JobsRecord], bool],
    ) -> tuple[Claim, bool]:
        """Take the training claim if nobody has one and `may_claim(record)` still agrees.

        `lifetime` in seconds; `registry_fence` is the greatest fence of the project's pointers. Answers the claim in
        force (it may have expired: see `next_attempt`) and whether it is ours. Raises ClaimLost if `may_claim` refused.
        """
        run_id = f"{self._store.now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"

        def take(record: JobsRecord) -> JobsRecord | None:
            if record.training is not None:
                return None
            if not may_claim(record):
                raise ClaimLost("somebody else decided first")
            fence = _next_step(max(record.fence, registry_fence))
            claim = Claim(
                run_id=run_id,
                state="launching",
                fence=fence,
                attempt=1,
                expires_at=self._in(lifetime),
                started_at=self._in(0),
                forced=forced,
            )
            return record.model_copy(update={"training": claim, "fence": fence})

        claim = _claim_of(self.update(take))
        return claim, claim.run_id == run_id

    def next_attempt(
        self, claim: Claim, *, lifetime: float, error: str, preempted: bool = False, requeued: bool = False
    ) -> Claim:
        """Take over an attempt that ended without release: the caller asked the launcher, nothing waits for `claim`.

        `preempted`: the attempt got further than the one before and was killed; that does not count against the run.
        `requeued`: its job waits to start anew, which will be the next attempt; else the caller launches one.
        Raises ClaimLost if somebody else took over, or the attempt lives again.
        """

        def take(record: JobsRecord) -> JobsRecord:
            _unchanged(record, claim)
            fence = claim.fence + 1
            return _with_claim(
                record.model_copy(update={"fence": max(record.fence, fence)}),
                claim,
                state="queued" if requeued else "launching",
                fence=fence,
                attempt=claim.attempt + 1,
                preempted=claim.preempted + preempted,
                stalled=0 if preempted else claim.stalled,
                spent=claim.has_run(self._in(0)).total_seconds(),
                nonce=None,
                job=claim.job if requeued else None,
                logs=claim.logs if requeued else None,
                refused=0,
                **_NO_WAITING,
                expires_at=self._in(lifetime),
                started_at=self._in(0),
                error=error,
            )

        return _claim_of(self.update(take))

    def refuse(self, claim: Claim, error: str) -> None:
        """The launcher refused: the claim expires at once. Raises ClaimLost if the job started nevertheless."""

        def expire(record: JobsRecord) -> JobsRecord | None:
            refused = claim.model_copy(update={"expires_at": self._in(0), "refused": claim.refused + 1, "error": error})
            current = record.training
            if current and current.model_copy(update={"expires_at": refused.expires_at}) == refused:
                return None  # our own earlier write, whose answer was lost
            _unchanged(record, claim)
            return record.model_copy(update={"training": refused})

        self.update(expire)

    def withdraw(self, claim: Claim, error: str) -> None:
        """The job ended, or was stopped, before it began: as if its launch had been refused. Raises ClaimLost."""

        def take(record: JobsRecord) -> JobsRecord:
            _unchanged(record, claim)
            again: dict[str, object] = {"state": "launching", "job": None, "logs": None, **_NO_WAITING}
            return _with_claim(record, claim, expires_at=self._in(0), refused=claim.refused + 1, error=error, **again)

        self.update(take)

    def launch_again(self, claim: Claim, *, lifetime: float) -> Claim:
        """Take over an attempt whose launch was refused: the same one, so that its name at the target stays.

        Raises ClaimLost if somebody else took over, or the job started nevertheless.
        """

        def take(record: JobsRecord) -> JobsRecord:
            _unchanged(record, claim)
            return _with_claim(record, claim, expires_at=self._in(lifetime), started_at=self._in(0))

        return _claim_of(self.update(take))

    def record_job(self, claim: Claim, job: str, *, logs: str | None = None) -> None:
        """Note the launcher's reference and where the log is: launching → queued, unless the job is already running."""

        def note(record: JobsRecord) -> JobsRecord | None:
            current = record.training
            if current is None or (current.run_id, current.attempt) != (claim.run_id, claim.attempt):
                return None
            state = "queued" if current.state == "launching" else current.state
            error = None if current.refused else current.error
            return _with_claim(record, current, state=state, job=job, logs=logs, error=error)

        self.update(note)

    def start(self, run_id: str, *, nonce: str, lifetime: float) -> Claim:
        """The job's first act: launching or queued → running, also if the claim expired and nobody took it over.

        Raises ClaimLost if another copy runs, or ran and was interrupted, or the run is over.
        """

        def take(record: JobsRecord) -> JobsRecord | None:
            current = record.training
            if current is None or current.run_id != run_id:
                raise ClaimLost(f"run {run_id} has ended or was replaced")
            if current.state == "running":
                if current.nonce == nonce:
                    return None
                raise ClaimLost(f"another process runs {run_id}, or its last one was interrupted")
            times = {"started_at": self._in(0), "expires_at": self._in(lifetime)}
            begun: dict[str, object] = {
                "refused": 0,
                "error": None if current.refused else current.error,
                **_NO_WAITING,
            }
            return _with_claim(record, current, state="running", nonce=nonce, **times, **begun)

        return _claim_of(self.update(take))

    def renew(self, claim: Claim, *, lifetime: float, longest_run: float) -> Claim:
        """Extend a running claim by `lifetime` seconds, at most to `longest_run + lifetime` after the job's start.

        Raises ClaimLost if the claim is not ours any more, or the job took longer than that.
        """
        latest = claim.started_at + timedelta(seconds=longest_run + lifetime)

        def extend(record: JobsRecord) -> JobsRecord:
            current = self._ours(record, claim)
            if self._in(0) >= latest:
                raise ClaimLost(f"run {claim.run_id} took longer than {longest_run:.0f} s, the longest run allowed")
            return _with_claim(record, current, expires_at=min(self._in(lifetime), latest))

        return _claim_of(self.update(extend))

    def extend_queued(
        self, claim: Claim, *, lifetime: float, waiting: bool, why: str = "", stuck: bool = False
    ) -> None:
        """The launcher knows the job: keep its claim alive, unless the claim changed meanwhile.

        `waiting`: the job has not started yet, so its time does not run; `why`, and whether it is `stuck`: it waits for
        a correction.
        """

        def extend(record: JobsRecord) -> JobsRecord | None:
            if record.training != claim:
                return None
            now = self._in(0)
            extended: dict[str, object] = {"expires_at": self._in(lifetime), **_NO_WAITING}
            if waiting:
                since = claim.stuck_since or now if stuck else None
                extended |= {"started_at": now, "waits": why or None, "stuck_since": since}
            return _with_claim(record, claim, **extended)

        self.update(extend)

    def interrupt(self, claim: Claim, error: str, *, preempted: bool = False, got_further: bool = False) -> None:
        """An attempt that cannot go on lets its claim expire at once, so that the next sweep starts the next one.

        The claim loses its nonce, so that no renewal under way revives it. `preempted`: the machine ended it, which
        does not count against the run; `got_further`: after it had left an epoch more than the attempt before. Raises
        ClaimLost.
        """

        def expire(record: JobsRecord) -> JobsRecord | None:
            found = record.training
            if found and (found.state, found.fence, found.nonce) == ("running", claim.fence, None):
                return None  # our own earlier write, whose answer was lost
            ours = self._ours(record, claim)
            return _with_claim(
                record,
                ours,
                nonce=None,
                expires_at=self._in(0),
                error=error,
                preempted=ours.preempted + preempted,
                stalled=0 if got_further else ours.stalled + preempted,
            )

        self.update(expire)

    def release(self, claim: Claim, *, outcome: Outcome, baseline: Baseline | None = None, message: str = "") -> None:
        """End the run: no claim, its baseline recorded (None keeps the old one). Raises ClaimLost.

        A run that failed uses up nothing: the old baseline stays, whatever it read.
        """

        def end(record: JobsRecord) -> JobsRecord | None:
            if record.last_run and record.last_run.run_id == claim.run_id:
                return None  # our own earlier write, whose answer was lost
            self._ours(record, claim)
            failed = outcome == "failed"
            last_run = LastRun(
                run_id=claim.run_id,
                outcome=outcome,
                ended_at=self._in(0),
                message=message,
                failures=(record.last_run.failures if record.last_run else 0) + 1 if failed else 0,
            )
            kept = record.baseline if failed or baseline is None else baseline
            return record.model_copy(update={"training": None, "baseline": kept, "last_run": last_run})

        self.update(end)

    def next_fence(self, registry_fence: int) -> int:
        """A new fence for a rollback: a run that is active cannot undo it."""

        def grow(record: JobsRecord) -> JobsRecord:
            return record.model_copy(update={"fence": _next_step(max(record.fence, registry_fence))})

        return self.update(grow).fence

    def lower_val_border(self, border: float) -> None:
        """Nothing below it may be learnt from any more, in this run or a later one; it never rises."""

        def lower(record: JobsRecord) -> JobsRecord | None:
            if record.val_border is not None and record.val_border <= border:
                return None
            return record.model_copy(update={"val_border": border})

        self.update(lower)

    def close(self) -> None:
        """Label Studio says that the project is gone: nothing is started for it any more."""
        self.update(lambda record: None if record.closed else record.model_copy(update={"closed": True}))

    def _ours(self, record: JobsRecord, claim: Claim) -> Claim:
        current = record.training
        held = current and (current.run_id, current.fence, current.nonce)
        if current is None or held != (claim.run_id, claim.fence, claim.nonce):
            raise ClaimLost(f"run {claim.run_id} (attempt {claim.attempt}) lost its claim")
        return current

    def _in(self, seconds: float) -> datetime:
        return self._store.now() + timedelta(seconds=seconds)

    def _read(self) -> tuple[JobsRecord, Token | None]:
        try:
            return load(JobsRecord, self._store, f"{self._root}/jobs.json")
        except NotFound:
            return JobsRecord(), None

    def _write(self, record: JobsRecord, token: Token | None) -> None:
        key, data = f"{self._root}/jobs.json", record.to_json()
        try:
            if token is None:
                self._store.create(key, data)
            else:
                self._store.replace(key, data, token)
        except AlreadyExists as error:
            raise PreconditionFailed(str(error)) from error


def _with_claim(record: JobsRecord, claim: Claim, **changes: object) -> JobsRecord:
    return record.model_copy(update={"training": claim.model_copy(update=changes)})


def _unchanged(record: JobsRecord, claim: Claim) -> None:
    if record.training != claim:
        raise ClaimLost(f"run {claim.run_id} was taken over by somebody else, or lives again")


def _claim_of(record: JobsRecord) -> Claim:
    assert record.training is not None
    return record.training


def _next_step(fence: int) -> int:
    return (fence // _FENCE_STEP + 1) * _FENCE_STEP
