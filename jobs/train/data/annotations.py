"""Tasks as they are exported, which of their annotations counts, and a digest of all annotations."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.errors import LabelloopError
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import label_items

Annotation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExportedTask:
    """One task and its annotations, as Label Studio's API answers them."""

    id: int
    data: Mapping[str, Any]
    annotations: tuple[Annotation, ...]
    unreadable: str = ""  # why it could not be read; empty: it could
    seen: str = ""  # what tells whether it is the same later; empty: nothing does
    same: bool = False  # as in an earlier snapshot, so its annotations were not asked for


class NothingToLearn(LabelloopError):
    """The project has nothing to train a model on. Another attempt would find the same."""


def choose_annotation(annotations: Iterable[Annotation]) -> Annotation | None:
    """The annotation that was updated last, cancelled (skipped) ones ignored; None if there is none.

    The ground truth mark is ignored, because Label Studio sets it on every imported annotation. A person who sets it
    also updates the annotation.
    """
    kept = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    return max(kept, key=_rank, default=None)


def regions_of(annotation: Annotation) -> list[Mapping[str, Any]]:
    """The regions of its result; anything else is left out, since an import may write any JSON there."""
    result = annotation.get("result")
    return [region for region in result if isinstance(region, Mapping)] if isinstance(result, list) else []


def foreign_labels(result: Iterable[Mapping[str, Any]], control: Control) -> int:
    """Number of labels of this control's regions that are not in the labeling config."""
    given = (labels for _, labels in label_items(result, control))
    return sum(label not in control.label_values for labels in given if isinstance(labels, list) for label in labels)


class AnnotationDigest:
    """SHA-256 of all pairs (annotation id, updated_at), in the order of tasks, then of annotation ids."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, annotations: Iterable[Annotation]) -> None:
        """Add the annotations of the next task."""
        self.add_part(part_of(annotations))

    def add_part(self, part: str) -> None:
        """Add the next task by its `part_of` the digest."""
        self._hash.update(part.encode())

    def hexdigest(self) -> str:
        """The digest of everything added so far, 64 characters."""
        return self._hash.hexdigest()


def part_of(annotations: Iterable[Annotation]) -> str:
    """One task's part of the digest: a line for each annotation."""
    lines = []
    for number, annotation in sorted(
        ((_id_of(annotation) or 0, annotation) for annotation in annotations if isinstance(annotation, Mapping)),
        key=lambda one: one[0],
    ):
        updated_at = annotation.get("updated_at")
        told = updated_at if isinstance(updated_at, str | int | float | None) else type(updated_at).__name__
        lines.append(f"{number} {told}\n".encode(errors="backslashreplace").decode())
    return "".join(lines)


def countable(annotations: Iterable[object]) -> list[Annotation]:
    """The annotations that are objects with a number as `id`; an import may write any JSON."""
    return [one for one in annotations if isinstance(one, Mapping) and _id_of(one) is not None]


def _id_of(annotation: Annotation) -> int | None:
    number = annotation.get("id")
    return int(number) if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()) else None


def _rank(annotation: Annotation) -> tuple[datetime, int]:
    return _updated_at(annotation), int(annotation["id"])


def submitted_at(annotation: Annotation) -> datetime | None:
    """When a person submitted it; None if that is no date."""
    return _moment(annotation.get("created_at"))


def _updated_at(annotation: Annotation) -> datetime:
    """Without a date it counts as the oldest."""
    moment = _moment(annotation.get("updated_at") or annotation.get("created_at"))
    return moment or datetime.min.replace(tzinfo=UTC)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except (ValueError, RecursionError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
