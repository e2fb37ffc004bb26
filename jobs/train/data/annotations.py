"""Which annotation of a task counts, which part of the data it goes to, and whether anything changed."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.errors import LabelloopError
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import label_holder

Annotation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExportedTask:
    """One task and all its annotations, as Label Studio's API shows them."""

    id: int
    data: Mapping[str, Any]
    annotations: tuple[Annotation, ...]
    unreadable: str = ""  # why nothing of it can be read


class NothingToLearn(LabelloopError):
    """The project holds nothing that a model could be trained on: trying again changes nothing."""


def choose_annotation(annotations: Iterable[Annotation]) -> Annotation | None:
    """The one that somebody updated last; never a cancelled (skipped) one.

    Whether it is marked as ground truth decides nothing: Label Studio marks every imported annotation so by itself.
    Who marks one as ground truth updates it.
    """
    kept = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    return max(kept, key=_rank, default=None)


def regions_of(annotation: Annotation) -> list[Mapping[str, Any]]:
    """The regions of its result. Whoever imports annotations may write anything: what is none is left out."""
    result = annotation.get("result")
    return [region for region in result if isinstance(region, Mapping)] if isinstance(result, list) else []


def foreign_labels(result: Iterable[Mapping[str, Any]], control: Control) -> int:
    """How many labels of this control's regions are not in the labeling config (any more)."""
    holder, key = label_holder(control)
    given = (
        region["value"].get(key)
        for region in result
        if region.get("from_name") == holder and isinstance(region.get("value"), Mapping)
    )
    return sum(label not in control.label_values for labels in given if isinstance(labels, list) for label in labels)


class AnnotationDigest:
    """SHA-256 over all (annotation id, updated_at), in the order of tasks and annotation ids; memory does not grow."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, annotations: Iterable[Annotation]) -> None:
        """The annotations of the next task."""
        for number, annotation in sorted(
            ((_id_of(annotation) or 0, annotation) for annotation in annotations if isinstance(annotation, Mapping)),
            key=lambda one: one[0],
        ):
            updated_at = annotation.get("updated_at")
            told = updated_at if isinstance(updated_at, str | int | float | None) else type(updated_at).__name__
            self._hash.update(f"{number} {told}\n".encode(errors="backslashreplace"))

    def hexdigest(self) -> str:
        """Of everything added so far."""
        return self._hash.hexdigest()


def countable(annotations: Iterable[object]) -> list[Annotation]:
    """Those that can be told apart. Whoever imports annotations may write anything."""
    return [one for one in annotations if isinstance(one, Mapping) and _id_of(one) is not None]


def _id_of(annotation: Annotation) -> int | None:
    number = annotation.get("id")
    return int(number) if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()) else None


def _rank(annotation: Annotation) -> tuple[datetime, int]:
    return _updated_at(annotation), int(annotation["id"])


def _updated_at(annotation: Annotation) -> datetime:
    text = annotation.get("updated_at") or annotation.get("created_at")
    if not text:
        return datetime.min.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(str(text))
    except (ValueError, RecursionError):  # no date: older than any
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
