"""How much has to change before the next training: few annotated tasks double, of many a part changes. Pure."""

import math
from dataclasses import dataclass

_DOUBLED = 8
"""Projects with less than this many times the tasks of their first training are trained when they have doubled."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When one project is trained: at 5, 10, 20 and 40 annotated tasks, then when a tenth of them has changed."""

    first: int  # annotated tasks for the first training (5)
    changed_share: float  # of the annotated tasks, for the next one of a project that is no longer small (0.1)

    def changes(self, then: int, now: int) -> int:
        """Number of new, changed or deleted tasks that the next training waits for, at least 1.

        `then`: annotated tasks that the last run read, `now`: those of now. No more than there are: where all that is
        left was annotated anew, a training is due, however much was deleted.
        """
        there = min(then, now)
        if self.changed_share == 0:
            return 1
        share = math.ceil(round(self.changed_share * there, 6))
        return max(1, self.first - there, min(there, max(_DOUBLED * self.first - there, share)))

    def is_small(self, then: int) -> bool:
        """Whether the next training is due when the project has doubled."""
        return 2 * then <= _DOUBLED * self.first

    def doubled_at(self, then: int) -> int | None:
        """Annotated tasks with which a small project has doubled; None: it is not small."""
        return max(2 * then, self.first) if self.is_small(then) else None

    def has_doubled(self, then: int, now: int) -> bool:
        """Whether a small project has: then its training does not wait for the cool-down.

        A cool-down bounds what trainings cost. Those of a project that doubles are few already, and it has the most to
        gain from them.
        """
        doubled = self.doubled_at(then)
        return doubled is not None and now >= doubled
