"""Counts what is right and wrong in what was shown of some tiles, and the work that it saves an annotator."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from jobs.train.evidence import IOUS, Outcome
from jobs.train.shown_choice import ADD, DELETE, MOVE, TIGHT

_TIGHT = int(np.searchsorted(IOUS, TIGHT - 1e-9))


@dataclass(frozen=True, slots=True)
class Tally:
    """Of some tiles: their trees, and the boxes that were shown."""

    trees: int = 0
    shown: int = 0
    found: int = 0  # shown boxes that match a tree, at an IoU of 0.5 at least
    tight: int = 0  # at 0.8: they stay as they are, the others are moved
    overlap: float = 0.0  # sum of the IoUs of those that were found

    @classmethod
    def of(cls, shown: Outcome) -> "Tally":
        """Of one tile; `shown`: what was found and is shown."""
        right = shown.right()
        best = shown.overlap.max(axis=0, initial=0.0)
        return cls(
            trees=len(shown.truth),
            shown=len(shown.found),
            found=int(right[:, 0].sum()),
            tight=int(right[:, _TIGHT].sum()),
            overlap=float(best[right[:, 0]].sum()),
        )

    @classmethod
    def sum(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Of all their tiles together."""
        each = list(tallies)
        return cls(**{field.name: sum(getattr(one, field.name) for one in each) for field in fields(cls)})

    @property
    def saved(self) -> float:
        """Part of the work of drawing every tree that is saved; below 0: correcting is more work."""
        loose = self.found - self.tight
        work = ADD * (self.trees - self.found) + MOVE * loose + DELETE * (self.shown - self.found)
        return 1 - work / (ADD * self.trees) if self.trees else 0.0

    def __str__(self) -> str:
        recall = self.found / self.trees if self.trees else 0.0
        overlap = self.overlap / self.found if self.found else 0.0
        wrong = self.shown - self.found
        return f"saved {self.saved:+4.0%}  recall {recall:.2f}  wrong {wrong:3d} of {self.shown:3d}  IoU {overlap:.2f}"
