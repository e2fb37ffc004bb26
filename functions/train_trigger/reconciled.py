"""The outcome of reconciling one project: a word for counters and answers, a sentence for people."""

from dataclasses import dataclass
from typing import Literal

Status = Literal[
    "nothing", "waiting", "active", "launched", "relaunched", "refused", "given_up", "closed", "failed", "stopped"
]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How reconciling ended."""

    status: Status
    reason: str
    run_id: str | None = None  # of the run that is active now, or that was stopped
