"""The item of a task that is answered without a prediction: `[]` for Label Studio, with the reason for doctor."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Unanswered(list[Any]):
    """Always empty."""

    def __init__(self, reason: str, message: str) -> None:
        """`reason`: one word from a fixed set. `message`: a sentence."""
        super().__init__()
        self.reason = reason
        self.message = message


def noting_first(items: Iterable[T], found: list[Unanswered]) -> Iterator[T]:
    """The items, one by one; the first one that is unanswered is put into `found`."""
    for item in items:
        if isinstance(item, Unanswered) and not found:
            found.append(item)
        yield item
