"""What reconciling one project came to: one word for counters and answers, one sentence for people."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["nothing", "waiting", "active", "launched", "relaunched", "refused", "given_up", "closed", "failed"]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The outcome for one project."""

    status: Status
    reason: str
    run_id: str | None = None  # of the run that is active now
