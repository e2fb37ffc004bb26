"""Edits counted by version, control and class, and what they say: acceptance, coverage, the saved share. Pure.

Memory does not grow with the annotations: of the likeness of moved objects a histogram is kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from infra.effort.edits import KINDS, Edit

_BINS = 100


@dataclass(frozen=True, slots=True)
class Weights:
    """The work of one edit, as parts of the work of adding an object."""

    moved: float = 0.5
    relabelled: float = 0.3
    deleted: float = 0.2
    added: float = 1.0
    smart: float = 0.3

    def of(self, counts: "Counts") -> float:
        """The work of all edits."""
        return (
            self.moved * counts.moved
            + self.relabelled * counts.relabelled
            + self.deleted * counts.deleted
            + self.added * counts.added
            + self.smart * counts.smart
        )


DEFAULT_WEIGHTS = Weights()


@dataclass(slots=True)
class Counts:
    """Numbers of objects. Of a class: `added`, `smart` and `final` by the annotated label, the others by the predicted
    one."""

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    deleted: int = 0
    added: int = 0  # drawn by hand
    smart: int = 0  # drawn by a smart tool
    final: int = 0  # in the annotations
    _likeness: list[int] = field(default_factory=lambda: [0] * _BINS, repr=False)  # of moved objects, a histogram

    @property
    def shown(self) -> int:
        """Predicted objects."""
        return self.kept + self.moved + self.relabelled + self.deleted

    @property
    def edits(self) -> int:
        """Everything that a person did."""
        return self.moved + self.relabelled + self.deleted + self.added + self.smart

    @property
    def acceptance(self) -> float | None:
        """The part of what was shown that was right as it was; None: nothing was shown."""
        return self.kept / self.shown if self.shown else None

    @property
    def coverage(self) -> float | None:
        """The part of the annotated objects that began as a prediction; None: nothing was annotated."""
        return (self.final - self.added - self.smart) / self.final if self.final else None

    @property
    def recall(self) -> float | None:
        """The part of the annotated objects that were predicted with their label; None: nothing was annotated."""
        return (self.kept + self.moved) / self.final if self.final else None

    @property
    def moved_likeness(self) -> float | None:
        """The median IoU of a moved object with where it was predicted, to a hundredth; None: nothing was moved."""
        passed = np.cumsum(self._likeness)
        return (int(np.searchsorted(passed, passed[-1] / 2)) + 0.5) / _BINS if passed[-1] else None

    def saved(self, weights: Weights = DEFAULT_WEIGHTS) -> float | None:
        """The part of the work of drawing everything by hand that was saved; None: nothing was annotated.

        Negative if correcting cost more than drawing would have.
        """
        return 1.0 - weights.of(self) / (weights.added * self.final) if self.final else None

    def count(self, edit: Edit) -> None:
        """Count an edit; not `final`."""
        setattr(self, edit.kind, getattr(self, edit.kind) + 1)
        if edit.kind == "moved" and edit.likeness is not None:
            self._likeness[min(int(edit.likeness * _BINS), _BINS - 1)] += 1

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        both = zip(self._likeness, other._likeness, strict=True)
        sums = {name: number + getattr(other, name) for name, number in self.numbers().items()}
        return Counts(**sums, _likeness=[one + another for one, another in both])

    def numbers(self) -> dict[str, int]:
        """The objects of each kind of edit, and `final`."""
        return {name: getattr(self, name) for name in (*KINDS, "final")}

    def as_json(self, weights: Weights) -> dict[str, Any]:
        """For scripts."""
        return {
            "shown": self.shown,
            **self.numbers(),
            "moved_median_iou": self.moved_likeness,
            "acceptance": self.acceptance,
            "coverage": self.coverage,
            "recall": self.recall,
            "saved": self.saved(weights),
        }


@dataclass(slots=True)
class ControlCounts:
    """One control of one version: in all, and by class. One annotation is one image here, also of a video."""

    total: Counts = field(default_factory=Counts)
    classes: dict[str, Counts] = field(default_factory=dict)
    images: int = 0
    unedited: int = 0  # images

    def add(self, edits: Iterable[Edit]) -> None:
        """Count the edits of one annotation."""
        edited = False
        for edit in edits:
            edited |= edit.kind != "kept"
            label = edit.final if edit.kind in ("added", "smart") else edit.predicted
            for counts in (self.total, self._of(label)):
                counts.count(edit)
            if edit.kind != "deleted":
                self.total.final += 1
                self._of(edit.final).final += 1
        self.images += 1
        self.unedited += not edited

    def _of(self, label: str) -> Counts:
        return self.classes.setdefault(label, Counts())

    def as_json(self, weights: Weights) -> dict[str, Any]:
        """For scripts."""
        return self.total.as_json(weights) | {
            "images": self.images,
            "images_without_an_edit": self.unedited,
            "edits_an_image": self.total.edits / self.images if self.images else None,
            "classes": {label: counts.as_json(weights) for label, counts in sorted(self.classes.items())},
        }
