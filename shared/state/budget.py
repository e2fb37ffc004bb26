"""Budgets: how long the jobs of one project, and of all in the store, may run on a day and in a month. Pure.

Days and months are those of UTC. What was used stands in each project's `jobs.json` and grows with every renewal of a
claim (`shared.state.claims`), so a job that is killed has used what it ran until its last one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from shared.settings import Settings
from shared.state.records import Record

Used = Mapping[str, float]
"""Day ("2026-11-27") → seconds that jobs ran, for the days of one month."""
NOTHING_USED: Used = MappingProxyType({})
WORTH_STARTING = 0.1
"""Part of a limit, or of the longest run if that is shorter, that must be left for an attempt to begin.

With less, the training would end after a few epochs and the gate would judge a half-trained model."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, and what is used of it."""

    whose: Literal["project", "store"]
    period: Literal["day", "month"]
    seconds: float
    used: float  # seconds, in the period of now
    renewed_at: datetime  # when the next period begins
    needed: float  # seconds that must be left for an attempt to begin

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.seconds - self.used)

    @property
    def too_little(self) -> bool:
        """Whether so little is left that nothing begins before the next period."""
        return self.left < self.needed

    def lasts(self, now: datetime, jobs: int = 1) -> float:
        """Seconds from now that so many jobs can run together without a pause, also over the end of a period."""
        until_then = (self.renewed_at - now).total_seconds()
        left = self.left / jobs
        return left if left < until_then else until_then + self.seconds / jobs

    def as_json(self) -> dict[str, Any]:
        """The limit for scripts, in minutes."""
        return {
            "whose": self.whose,
            "period": self.period,
            "minutes": round(self.seconds / 60, 1),
            "used": round(self.used / 60, 1),
            "too_little": self.too_little,
            "renewed_at": self.renewed_at.isoformat(),
        }

    def __str__(self) -> str:
        """A sentence about what there is."""
        return (
            f"{self.used / 60:.0f} of the {self.seconds / 60:g} minutes that the {self.whose}'s jobs may run in a "
            f"{self.period} are used; the next {self.period} begins at {self.renewed_at:%Y-%m-%d %H:%M} UTC"
        )


class Budget(Record):
    """Limits in minutes; None: no limit."""

    day: float | None = None  # of one project
    month: float | None = None
    store_day: float | None = None  # of all projects together
    store_month: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Budget":
        """As the settings say, the project's overrides applied (`shared.state.projects.with_overrides`)."""
        return cls(
            day=settings.budget_day,
            month=settings.budget_month,
            store_day=settings.store_budget_day,
            store_month=settings.store_budget_month,
        )

    @property
    def smallest(self) -> float | None:
        """Seconds of the smallest limit; None if there is none."""
        limits = [limit for limit in (self.day, self.month, self.store_day, self.store_month) if limit is not None]
        return min(limits) * 60 if limits else None

    @property
    def of_store(self) -> bool:
        """Whether what other projects use matters."""
        return self.store_day is not None or self.store_month is not None

    def limits(self, project: Used, store: Used, now: datetime, *, longest_run: float = math.inf) -> list[Limit]:
        """All limits there are. `project`, `store`: what one and what all have used; `longest_run` in seconds."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        tomorrow, next_month = today + timedelta(days=1), (today.replace(day=1) + timedelta(days=32)).replace(day=1)
        (of_day, of_month), (day_of_all, month_of_all) = used_by(project, now), used_by(store, now)

        def limit(
            whose: Literal["project", "store"], period: Literal["day", "month"], minutes: float | None, used: float
        ) -> list[Limit]:
            if minutes is None:
                return []
            needed = WORTH_STARTING * min(longest_run, minutes * 60)
            return [Limit(whose, period, minutes * 60, used, tomorrow if period == "day" else next_month, needed)]

        return [
            *limit("project", "day", self.day, of_day),
            *limit("project", "month", self.month, of_month),
            *limit("store", "day", self.store_day, day_of_all),
            *limit("store", "month", self.store_month, month_of_all),
        ]


NO_BUDGET = Budget()


def used_by(used: Used, now: datetime) -> tuple[float, float]:
    """Seconds of the day and of the month of `now`."""
    today = _day(now)
    return used.get(today, 0.0), sum(seconds for day, seconds in used.items() if day[:7] == today[:7])


def added(used: Used, since: datetime, until: datetime, *, jobs: int = 1) -> dict[str, float]:
    """`used` with the time of `jobs` from `since` until `until`, each part on its day, without the months before."""
    found = dict(used)
    while since < until:
        midnight = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        end = min(midnight, until)
        found[_day(since)] = round(found.get(_day(since), 0.0) + (end - since).total_seconds() * jobs, 3)
        since = end
    return {day: seconds for day, seconds in found.items() if day[:7] >= _day(until)[:7]}


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()
