"""The records in `jobs.json`: who may run, how the newest run ended, and what Label Studio held then."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.records import Record, new_serial
from shared.runs import Baseline

Outcome = Literal["promoted", "rejected", "unchanged", "failed"]


class Claim(Record):
    """The right to run for a project until `expires_at`."""

    run_id: str = Field(pattern="^[a-z0-9-]{1,50}$")
    state: Literal["launching", "queued", "running"]
    fence: int
    attempt: int = Field(ge=1)
    preempted: int = Field(default=0, ge=0)  # attempts, this one included, that a machine ended after they got further
    expires_at: datetime
    started_at: datetime  # of the attempt's job: waiting in a queue does not count
    forced: bool = False  # a person asked for it: thresholds were skipped
    baseline: Baseline | None = None  # what Label Studio held when the run was decided: for one that fails early
    nonce: str | None = None  # of the process that runs it
    job: str | None = None  # the launcher's reference
    logs: str | None = None  # where the job's log is: a URL, a command or a path
    refused: int = Field(default=0, ge=0)  # launches of this attempt that the launcher refused, one after the other
    error: str | None = None  # why the last attempt ended, or its launch was refused


class LastRun(Record):
    """How the newest ended run ended."""

    run_id: str
    outcome: Outcome
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
