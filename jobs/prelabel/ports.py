"""What a prelabelling asks of Label Studio."""

from collections.abc import Collection, Iterator, Sequence, Set
from typing import Any, NamedTuple, Protocol

from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import Task


class Part(NamedTuple):
    """The tasks of one worker: those whose id leaves the remainder `number` when divided by `of`."""

    number: int
    of: int

    def holds(self, task_id: int) -> bool:
        """Whether a task belongs to this part."""
        return task_id % self.of == self.number


WHOLE = Part(0, 1)


class Page(NamedTuple):
    """Some tasks of a project, by ascending id."""

    tasks: Sequence[Task]  # those that need a prediction, or a new one
    last: int  # id of the last task that was looked at
    seen: int  # how many tasks of the part were looked at
    there: Set[int] = frozenset()  # ids of those of `tasks` that have a prediction, which is to be replaced


class Target(Protocol):
    """One project of Label Studio, to write predictions into. Waits out short outages.

    Methods raise ProjectGone, Unauthorized, and LabelStudioError for a longer one.
    """

    def state(self) -> ProjectState:
        """Counters, labeling config and Label Studio's clock."""

    def waiting(self, after: int) -> int:
        """The number of tasks without annotations whose id is above `after`."""

    def pages(self, version: str, after: int, part: Part = WHOLE, *, renewing: bool = False) -> Iterator[Page]:
        """Tasks without annotations whose id is above `after`; those that need a prediction have none of `version`.

        `renewing`: those that have one need another.
        Only tasks of `part` are looked at; `last` of a page is the last of all tasks all the same.
        """

    def store(self, predictions: Sequence[dict[str, Any]], *, renewing: bool = False) -> int:
        """Store predictions, each with its `task`, once; answers how many Label Studio took.

        `renewing`: those that are there get the new result, and keep their id, to which annotations may refer.
        """

    def show(self, version: str) -> bool:
        """Let annotators see this version's predictions. False if Label Studio holds none of it."""

    def sampling(self) -> str:
        """In which order Label Studio hands out tasks."""

    def hand_out(self, sampling: str) -> None:
        """Set that order."""

    def prune(self, keep: Collection[str], controls: Sequence[str]) -> int:
        """Remove predictions of other versions of these controls from tasks without annotations; answers their number.

        Those of annotated tasks stay: annotations refer to them.
        """
