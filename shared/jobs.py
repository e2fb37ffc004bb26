"""Who may run for a project: claims that expire, fences that only grow, the baseline of the last run, and run files.

One object, `jobs.json`, changed by compare-and-swap only. Claim states: launching (somebody asked a launcher), queued
(the launcher accepted), running (the job took it with a nonce of its own).
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import quote

from pydantic import Field
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from shared.errors import AlreadyExists, ClaimLost, NotFound, PreconditionFailed, StoreError
from shared.objectstore import ObjectStore, Token
from shared.records import Record, new_serial
from shared.runs import Progress, RunRequest


class Totals(Record):
    """Label Studio's own counters of a project."""

    task_number: int = 0
    total_annotations_number: int = 0
    num_tasks_with_annotations: int = 0
    useful_annotation_number: int = 0
    ground_truth_number: int = 0
    skipped_annotations_number: int = 0


class Baseline(Record):
    """What Label Studio held when the last run started its export."""

    totals: Totals
    read_at: datetime  # Label Studio's clock
    digest: str | None = None  # of all (annotation id, updated_at); None: the run failed before it knew


class Claim(Record):
    """The right to run for a project until `expires_at`."""

    run_id: str = Field(pattern="^[a-z0-9-]{1,50}$")
    state: Literal["launching", "queued", "running"]
    fence: int
    attempt: int = Field(ge=1)
    expires_at: datetime
    started_at: datetime  # of the run, not of the attempt
    forced: bool = False  # a person asked for it: thresholds were skipped
    nonce: str | None = None  # of the process that runs it
    job: str | None = None  # the launcher's reference
    error: str | None = None  # why the last attempt ended


class LastRun(Record):
    """How the newest ended run ended."""

    run_id: str
    outcome: Literal["promoted", "rejected", "unchanged", "failed"]
    ended_at: datetime
    message: str = ""


class JobsRecord(Record):
    """The one mutable record of a project's jobs."""

    serial: str = Field(default_factory=new_serial)
    fence: int = 0  # the greatest ever given
    training: Claim | None = None
    prelabel: Claim | None = None
    baseline: Baseline | None = None
    last_run: LastRun | None = None
    closed: bool = False  # Label Studio answered 404


class Jobs:
    """The jobs record and run files of one project."""

    def __init__(self, store: ObjectStore, uid: str) -> None:
        self._store = store
        self._root = f"projects/{quote(uid, safe='')}"
        self.uid = uid

    def read(self) -> JobsRecord:
        """The record as it is now; an empty one before the first claim."""
        return self._read()[0]

    @retry(
        retry=retry_if_exception_type(PreconditionFailed),
        wait=wait_random_exponential(0.02, max=1),
        stop=stop_after_delay(30),
        reraise=True,
    )
    def update(self, change: Callable[[JobsRecord], JobsRecord | None]) -> JobsRecord:
        """Read, `change`, write if unchanged; again if somebody else wrote. `change` may be called several times.

        `change` answers None to leave the record as it is, and raises to refuse. Answers the record that is stored.
        """
        record, token = self._read()
        changed = change(record)
        if changed is None:
            return record
        changed = changed.model_copy(update={"serial": new_serial()})
        key = f"{self._root}/jobs.json"
        try:
            if token is None:
                self._store.create(key, changed.to_json())
            else:
                self._store.replace(key, changed.to_json(), token)
        except AlreadyExists as error:
            raise PreconditionFailed(str(error)) from error
        return changed

    def claim(
        self, *, lifetime: float, forced: bool, registry_fence: int, may_claim: Callable[[JobsRecord], bool]
    ) -> tuple[Claim, bool]:
        """Take the training claim if nobody has one and `may_claim(record)` still agrees.

        `lifetime` in seconds; `registry_fence` is the greatest fence of the project's pointers. Answers the claim that is
        in force and whether it is ours. Raises ClaimLost if there is none and `may_claim` refused.
        """
        now = self._store.now()
        run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"

        def take(record: JobsRecord) -> JobsRecord | None:
            if record.training is not None:
                return None
            if not may_claim(record):
                raise ClaimLost("somebody else decided first")
            fence = max(record.fence, registry_fence) + 1
            claim = Claim(
                run_id=run_id,
                state="launching",
                fence=fence,
                attempt=1,
                expires_at=now + timedelta(seconds=lifetime),
                started_at=now,
                forced=forced,
            )
            return record.model_copy(update={"training": claim, "fence": fence})

        claim = self.update(take).training
        assert claim is not None
        return claim, claim.run_id == run_id

    def next_attempt(self, claim: Claim, *, lifetime: float, error: str) -> Claim:
        """Take over an attempt that ended without release. Raises ClaimLost if somebody else did, or it lives again."""
        now = self._store.now()

        def take(record: JobsRecord) -> JobsRecord:
            if record.training != claim:
                raise ClaimLost(f"run {claim.run_id} was taken over by somebody else")
            fence = record.fence + 1
            again = claim.model_copy(
                update={
                    "state": "launching", "fence": fence, "attempt": claim.attempt + 1, "nonce": None, "job": None,
                    "expires_at": now + timedelta(seconds=lifetime), "error": error,
                }
            )  # fmt: skip
            return record.model_copy(update={"training": again, "fence": fence})

        taken = self.update(take).training
        assert taken is not None
        return taken

    def record_job(self, claim: Claim, job: str) -> None:
        """Note the launcher's reference: launching → queued, unless the job is already running."""

        def note(record: JobsRecord) -> JobsRecord | None:
            current = record.training
            if current is None or (current.run_id, current.attempt) != (claim.run_id, claim.attempt):
                return None
            state = "queued" if current.state == "launching" else current.state
            return record.model_copy(update={"training": current.model_copy(update={"state": state, "job": job})})

        self.update(note)

    def start(self, run_id: str, *, nonce: str, lifetime: float) -> Claim:
        """The job's first act: launching or queued → running. Raises ClaimLost if another copy runs, or the run is over."""
        now = self._store.now()

        def take(record: JobsRecord) -> JobsRecord | None:
            current = record.training
            if current is None or current.run_id != run_id:
                raise ClaimLost(f"run {run_id} has ended or was replaced")
            if current.state == "running":
                if current.nonce == nonce:
                    return None
                raise ClaimLost(f"another process runs {run_id}")
            running = current.model_copy(
                update={"state": "running", "nonce": nonce, "expires_at": now + timedelta(seconds=lifetime)}
            )
            return record.model_copy(update={"training": running})

        claim = self.update(take).training
        assert claim is not None
        return claim

    def renew(self, claim: Claim, *, lifetime: float, longest_run: float) -> Claim:
        """Extend a running claim, at most to `longest_run` seconds after the run's start. Raises ClaimLost."""
        now = self._store.now()
        end = min(now + timedelta(seconds=lifetime), claim.started_at + timedelta(seconds=longest_run + lifetime))

        def extend(record: JobsRecord) -> JobsRecord:
            current = self._ours(record, claim)
            return record.model_copy(update={"training": current.model_copy(update={"expires_at": end})})

        renewed = self.update(extend).training
        assert renewed is not None
        return renewed

    def extend_queued(self, claim: Claim, *, lifetime: float) -> None:
        """The launcher says that the job still waits: keep its claim alive."""
        end = self._store.now() + timedelta(seconds=lifetime)

        def extend(record: JobsRecord) -> JobsRecord | None:
            if record.training != claim:
                return None
            return record.model_copy(update={"training": claim.model_copy(update={"expires_at": end})})

        self.update(extend)

    def interrupt(self, claim: Claim, error: str) -> None:
        """A job that has to stop lets its claim expire at once, so that the next sweep starts the next attempt."""
        now = self._store.now()

        def expire(record: JobsRecord) -> JobsRecord:
            current = self._ours(record, claim)
            return record.model_copy(
                update={"training": current.model_copy(update={"expires_at": now, "error": error})}
            )

        self.update(expire)

    def release(
        self,
        claim: Claim,
        *,
        outcome: Literal["promoted", "rejected", "unchanged", "failed"],
        baseline: Baseline | None,
        message: str = "",
    ) -> None:
        """End the run: no claim, its baseline recorded (None keeps the old one). Raises ClaimLost."""
        now = self._store.now()
        last_run = LastRun(run_id=claim.run_id, outcome=outcome, ended_at=now, message=message)

        def end(record: JobsRecord) -> JobsRecord | None:
            if record.training is None and record.last_run and record.last_run.run_id == claim.run_id:
                return None  # our own earlier write, whose answer was lost
            self._ours(record, claim)
            return record.model_copy(
                update={"training": None, "baseline": baseline or record.baseline, "last_run": last_run}
            )

        self.update(end)

    def next_fence(self, registry_fence: int) -> int:
        """A new fence for a rollback: a run that is active cannot undo it."""

        def grow(record: JobsRecord) -> JobsRecord:
            return record.model_copy(update={"fence": max(record.fence, registry_fence) + 1})

        return self.update(grow).fence

    def close(self) -> None:
        """Label Studio says that the project is gone: nothing is started for it any more."""
        self.update(lambda record: record.model_copy(update={"closed": True}))

    def write_request(self, request: RunRequest) -> None:
        """Once a run; a second attempt keeps the first request."""
        try:
            self._store.create(self.run_key(request.run_id, "request.json"), request.to_json())
        except AlreadyExists:
            return

    def request(self, run_id: str) -> RunRequest:
        """Raises NotFound."""
        return RunRequest.model_validate_json(self._get(self.run_key(run_id, "request.json")))

    def write_progress(self, run_id: str, progress: Progress) -> None:
        """Informative: the last write wins."""
        self._store.put(self.run_key(run_id, "progress.json"), progress.to_json())

    def progress(self, run_id: str) -> Progress | None:
        """None before the first write."""
        try:
            return Progress.model_validate_json(self._get(self.run_key(run_id, "progress.json")))
        except NotFound:
            return None

    def run_key(self, run_id: str, name: str) -> str:
        """Key of a run's file."""
        return f"{self._root}/runs/{run_id}/{name}"

    def _ours(self, record: JobsRecord, claim: Claim) -> Claim:
        current = record.training
        if current is None or (current.run_id, current.fence, current.nonce) != (
            claim.run_id,
            claim.fence,
            claim.nonce,
        ):
            raise ClaimLost(f"run {claim.run_id} (attempt {claim.attempt}) lost its claim")
        return current

    def _read(self) -> tuple[JobsRecord, Token | None]:
        try:
            stored = self._store.get(f"{self._root}/jobs.json")
        except NotFound:
            return JobsRecord(), None
        assert stored is not None
        return JobsRecord.model_validate_json(stored.data), stored.token

    def _get(self, key: str) -> bytes:
        stored = self._store.get(key)
        if stored is None:
            raise StoreError(f"{self._store.url}: {key} was answered as unchanged although nothing was compared")
        return stored.data
