"""What became of a request's tasks: counted, and one log line for each reason."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from functions.predict.metrics import Metrics

logger = logging.getLogger(__name__)

_TASKS, _MESSAGES = 20, 5  # that a log line names

What = Literal["are answered empty", "are answered without some controls"]


@dataclass(slots=True)
class _Some:
    """Tasks with the same reason: how many, and the first of them."""

    count: int = 0
    tasks: list[int | None] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)  # different ones


class Tally:
    """Of one request, however many tasks it has."""

    def __init__(self, project: str, tasks: int) -> None:
        self._project = project
        self._tasks = tasks
        self._predicted = 0
        self._some: dict[tuple[What, str], _Some] = {}

    def predicted(self) -> None:
        """A task has a prediction."""
        self._predicted += 1

    def note(
        self, what: What, reason: str, message: str, tasks: Sequence[int | None], *, count: int | None = None
    ) -> None:
        """These tasks fared so, or `count` of which these are the first."""
        some = self._some.setdefault((what, reason), _Some())
        some.count += len(tasks) if count is None else count
        some.tasks += tasks[: _TASKS - len(some.tasks)]
        if len(some.messages) < _MESSAGES and message not in some.messages:
            some.messages.append(message)

    def tell(self, metrics: Metrics) -> None:
        """Count, and log."""
        metrics.predicted(self._predicted)
        for (what, reason), some in self._some.items():
            empty = what == "are answered empty"
            (metrics.failed if empty else metrics.left_out)(reason, some.count)
            logger.warning(
                f"{some.count} of {self._tasks} tasks {what}: {some.messages[0]}",
                extra={
                    "event": "not_predicted" if empty else "control_left_out",
                    "reason": reason,
                    "project": self._project,
                    "tasks": some.tasks,
                    "messages": some.messages,
                },
            )
