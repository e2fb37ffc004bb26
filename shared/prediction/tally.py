"""Counts the outcomes of a request's tasks, and logs one line for each reason of a failure."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from shared.prediction.metrics import Metrics

logger = logging.getLogger(__name__)

_TASKS, _MESSAGES = 20, 5  # limits of what a log line names

What = Literal["are answered empty", "are answered without some controls"]


@dataclass(slots=True)
class _Group:
    """Tasks with the same reason."""

    count: int = 0
    tasks: list[int | None] = field(default_factory=list)  # the first ones
    messages: list[str] = field(default_factory=list)  # distinct


class Tally:
    """The outcomes of one request's tasks, in bounded memory."""

    def __init__(self, project: str, tasks: int) -> None:
        self._project = project
        self._tasks = tasks
        self._predicted = 0
        self._groups: dict[tuple[What, str], _Group] = {}

    def predicted(self) -> None:
        """Count a task with a prediction."""
        self._predicted += 1

    @property
    def any_predicted(self) -> bool:
        """Whether a task was answered with a prediction."""
        return self._predicted > 0

    def add(
        self, what: What, reason: str, message: str, tasks: Sequence[int | None], *, count: int | None = None
    ) -> None:
        """Count tasks with this outcome. `count`: their number, if `tasks` are only the first of them."""
        group = self._groups.setdefault((what, reason), _Group())
        group.count += len(tasks) if count is None else count
        group.tasks += tasks[: _TASKS - len(group.tasks)]
        if len(group.messages) < _MESSAGES and message not in group.messages:
            group.messages.append(message)

    def report(self, metrics: Metrics) -> None:
        """Write the counts to `metrics` and to the log."""
        metrics.predicted(self._predicted)
        for (what, reason), group in self._groups.items():
            empty = what == "are answered empty"
            (metrics.failed if empty else metrics.left_out)(reason, group.count)
            logger.log(
                logging.INFO if reason == "control_group" else logging.WARNING,
                f"{group.count} of {self._tasks} tasks {what}: {group.messages[0]}",
                extra={
                    "event": "not_predicted" if empty else "control_left_out",
                    "reason": reason,
                    "project": self._project,
                    "tasks": group.tasks,
                    "messages": group.messages,
                },
            )
