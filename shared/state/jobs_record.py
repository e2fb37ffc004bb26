"""The one record of a project's jobs, `jobs.json`: who may run now, and how the newest run ended."""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from shared.errors import ClaimLost
from shared.price import Cost, Price
from shared.state.notices import Notices
from shared.state.records import Record, new_serial
from shared.state.runs import Baseline

RunKind = Literal["train", "base", "prelabel"]
"""What a run does: train all controls that are due; make what they lack to be served (`shared.state.servable`); write
predictions into Label Studio, which may run beside one of the others."""
PRELABEL: RunKind = "prelabel"
OF_ALL_TASKS = {"no_model", "no_class", "no_regions"}
"""Reasons of `shared.prediction.context` why no task of a project has a prediction."""
RunOutcome = Literal[
    "promoted", "rejected", "unchanged", "nothing_to_learn", "prepared", "prelabelled", "failed", "stopped"
]
"""After every outcome but `failed`, only changes since then call for a new run: the whole project was read, or somebody
stopped the run (`shared.state.claims.stop`)."""
STOPPED: RunOutcome = "stopped"
_LONGEST = 1e9  # seconds: no run took 30 years


class Claim(Record):
    """The right to run for a project until `expires_at`."""

    run_id: str = Field(pattern="^[a-z0-9-]{1,50}$")
    kind: str = "train"  # a RunKind
    model_version: str = ""  # that a prelabelling was started for; "": another kind of run, or an older labelloop
    under: str = ""  # what it was started under (`shared.state.servable.conditions`), as for `model_version`
    workers: int = Field(default=1, ge=1)  # jobs of an attempt that run at once and share its tasks
    state: Literal["launching", "queued", "running"]
    fence: int
    attempt: int = Field(ge=1)
    preempted: int = Field(default=0, ge=0)  # attempts so far that machines ended: they are no failures of the run
    stalled: int = Field(default=0, ge=0)  # the newest of those, in a row, that left no checkpoint of their own
    expires_at: AwareDatetime
    started_at: AwareDatetime  # when the attempt's job started; until then, when it was last seen waiting
    spent: float = Field(
        default=0, ge=0, le=_LONGEST
    )  # seconds that earlier attempts have run, as they are counted in `used`
    price: str = ""  # of an hour of one of its jobs when the run was taken (`shared.price`); "": none was set
    counted_to: AwareDatetime | None = None  # until when the time of this attempt is in `JobsRecord.used`
    forced: bool = False  # a person asked for it: thresholds were skipped
    nonce: str | None = None  # of the process that runs the attempt; None: none does
    job: str | None = None  # the launcher's reference
    logs: str | None = None  # where the job's log is: a URL, a command or a path
    refused: int = Field(default=0, ge=0)  # launches of this attempt that were refused or withdrawn
    error: str | None = None  # why the attempt before ended, or why this one's launch was refused
    waits: str | None = None  # why the job is queued, in the target's words
    trace: str = ""  # W3C traceparent that the job goes on from; "": no traces
    stuck_since: AwareDatetime | None = None  # since when it is known to wait for a correction, not for capacity

    def has_run(self, now: datetime) -> timedelta:
        """How long all jobs of the run have run together: this attempt's until `now`, or until its claim expired."""
        ran = min(now, self.expires_at) - self.started_at if self.state == "running" else timedelta(0)
        return timedelta(seconds=self.spent) + max(ran, timedelta(0))

    def counted(self, to: datetime | None = None) -> float:
        """Seconds that the run stands for in `JobsRecord.used`, of one worker, once this attempt is counted `to` then.

        None: as it is counted now. Of an attempt that was killed, what it ran after its last renewal is in neither.
        """
        until = to or self.counted_to
        ran = until - self.started_at if self.state == "running" and until else timedelta(0)
        return self.spent + max(ran.total_seconds(), 0.0)


class LastRun(Record):
    """The newest run that has ended."""

    run_id: str
    kind: str = "train"  # a RunKind
    model_version: str = ""  # as in its claim
    outcome: str  # a RunOutcome, or a word of a newer labelloop
    ended_at: AwareDatetime
    message: str = ""
    suspects: int = Field(default=0, ge=0)  # annotations that it found worth a look, without those that were dismissed
    failures: int = Field(default=0, ge=0)  # runs in a row that failed, this one included; 0: it did not
    seconds: float | None = None  # that its jobs used, all attempts and workers together, as the budgets count them;
    # None: an older labelloop ended it
    price: str = ""  # as in its claim

    @property
    def cost(self) -> Cost | None:
        """What its jobs cost; None if no price was set."""
        price = Price.find(self.price)
        return None if price is None or self.seconds is None else price.cost(self.seconds)


class Prelabelled(Record):
    """What the newest prelabelling that ended has done."""

    model_version: str  # of the predictions that it wrote
    through: int  # id of the last task that it looked at
    shown: bool = True  # annotators see it; else another one was served by then, nobody was connected, or none is there
    left: int = 0  # tasks without a prediction: their image cannot be fetched, or the model failed
    why: dict[str, int] = Field(default_factory=dict)  # reason → such tasks
    predicted: int = 0  # predictions that this run wrote
    empty: int = 0  # of those, without a region: nothing was found
    tries: int = 0  # runs of this version in a row that left some
    superseded: dict[str, AwareDatetime] = Field(default_factory=dict)  # versions that were shown until just now
    written_at: AwareDatetime
    under: str = ""  # `Claim.under` of the run that wrote them

    @property
    def hopeless(self) -> bool:
        """Whether tasks were left for a reason that holds for all tasks until the version or `under` changes."""
        return self.left > 0 and not OF_ALL_TASKS.isdisjoint(self.why)

    def outdated(self, model_version: str, under: str) -> bool:
        """Whether the predictions of this version that are there, if any, were made under other conditions.

        False if that is not known: an older labelloop did not note them, neither here nor in a claim.
        """
        known = under and (self.under or self.hopeless)
        return bool(known) and self.model_version == model_version and self.under != under


class JobsRecord(Record):
    """`jobs.json` of a project, changed by the functions of `claims`, `launches`, `jobs_fields` and `outbox`."""

    serial: str = Field(default_factory=new_serial)
    fence: int = 0  # the greatest that was ever given
    training: Claim | None = None
    prelabel: Claim | None = None
    baseline: Baseline | None = None
    val_border: float | None = None  # images with a place (0–1) below it are for validation; it never rises
    last_run: LastRun | None = None
    next_run: str | None = None  # id of the training that a person asked for while a run of kind base was active
    last_prelabel: LastRun | None = None
    prelabelled: Prelabelled | None = None
    used: dict[str, float] = Field(default_factory=dict)  # day (UTC) of the newest month → seconds that jobs ran
    notices: Notices = ()  # what people are to be told, oldest first (`shared.state.outbox`)
    budgets_told: dict[str, AwareDatetime] = Field(
        default_factory=dict
    )  # "project day" → until when it was told as spent
    closed: bool = False  # Label Studio itself said that the project is gone

    @property
    def held(self) -> Claim:
        """The training claim. Raises ClaimLost if there is none."""
        if self.training is None:
            raise ClaimLost("no run is active")
        return self.training
