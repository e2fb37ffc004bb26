"""What decisions about a project are made on: a policy, and claims, runs and counters around one moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.train_trigger.decide import Policy
from functions.train_trigger.schedule import Schedule
from shared.state.jobs_record import Claim, LastRun
from shared.state.runs import Baseline, Totals

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
POLICY = Policy(
    schedule=Schedule(first=5, changed_share=0.1),
    cool_down=timedelta(minutes=5),
    longest_run=timedelta(hours=6),
    attempts=3,
    running_lifetime=timedelta(minutes=10),
    launching_lifetime=timedelta(minutes=2),
)


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def totals(tasks: int, annotations: int | None = None) -> Totals:
    return Totals(
        num_tasks_with_annotations=tasks, total_annotations_number=tasks if annotations is None else annotations
    )


def baseline(annotations: int) -> Baseline:
    return Baseline(totals=totals(annotations), read_at=ago(hours=1))


def last_run(outcome: Any, ended_at: datetime, *, failures: int = 0) -> LastRun:
    return LastRun(run_id="r-1", outcome=outcome, ended_at=ended_at, failures=failures)


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "run_id": "r-2", "state": "running", "fence": 1, "attempt": 1, "started_at": ago(hours=1), "job": "local:h:1:1",
    }  # fmt: skip
    return Claim(**values | {"expires_at": NOW + timedelta(minutes=9)} | changes)
