"""The one record of a project's jobs, `jobs.json`: who may run now, and how the newest run ended."""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from shared.errors import ClaimLost
from shared.state.records import Record, new_serial
from shared.state.runs import Baseline

RunOutcome = Literal["promoted", "rejected", "unchanged", "nothing_to_learn", "failed"]
"""All but `failed` have read the project whole: what it held then is used up, and only changes call for a new run."""


class Claim(Record):
    """The right to run for a project until `expires_at`."""

    run_id: str = Field(pattern="^[a-z0-9-]{1,50}$")
    state: Literal["launching", "queued", "running"]
    fence: int
    attempt: int = Field(ge=1)
    preempted: int = Field(default=0, ge=0)  # attempts, this one included, that a machine ended: no failures of the run
    stalled: int = Field(default=0, ge=0)  # of those, the newest in a row that ended before they got further
    expires_at: datetime
    started_at: datetime  # of the attempt's job: waiting in a queue does not count
    spent: float = Field(default=0, ge=0)  # seconds that the attempts before have run
    forced: bool = False  # a person asked for it: thresholds were skipped
    nonce: str | None = None  # of the process that runs it
    job: str | None = None  # the launcher's reference
    logs: str | None = None  # where the job's log is: a URL, a command or a path
    refused: int = Field(default=0, ge=0)  # launches of this attempt that came to nothing, one after the other
    error: str | None = None  # why the last attempt ended, or its launch was refused
    waits: str | None = None  # why the job is queued, in the words of its target
    stuck_since: datetime | None = None  # when it was first seen to wait for a correction, not for capacity

    def has_run(self, now: datetime) -> timedelta:
        """How long the run's jobs have run, this attempt's until `now`, or until its claim expired."""
        ran = min(now, self.expires_at) - self.started_at if self.state == "running" else timedelta(0)
        return timedelta(seconds=self.spent) + max(ran, timedelta(0))


class LastRun(Record):
    """How the newest ended run ended."""

    run_id: str
    outcome: str  # a RunOutcome, or one that a newer version has
    ended_at: datetime
    message: str = ""
    failures: int = Field(default=0, ge=0)  # runs that failed one after the other, this one included


class JobsRecord(Record):
    """The one mutable record of a project's jobs."""

    serial: str = Field(default_factory=new_serial)
    fence: int = 0  # the greatest ever given
    training: Claim | None = None
    prelabel: Claim | None = None
    baseline: Baseline | None = None
    val_border: float | None = None  # of what runs so far held out to validate on: it never rises
    last_run: LastRun | None = None
    closed: bool = False  # Label Studio itself said that the project is gone

    @property
    def held(self) -> Claim:
        """The training claim. Raises ClaimLost if there is none."""
        if self.training is None:
            raise ClaimLost("no run is active")
        return self.training
