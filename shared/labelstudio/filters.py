"""Filters of Label Studio's data manager: conditions by which it lists, counts or shows tasks."""

import json
from collections.abc import Sequence
from typing import Any

Condition = dict[str, Any]


def condition(field: str, operator: str, value: object, kind: str = "Number") -> Condition:
    """A condition on one column of the data manager, by its name and type there."""
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}


def above(task_id: int) -> Condition:
    """Tasks with a greater id."""
    return condition("id", "greater", task_id)


ANNOTATED = condition("total_annotations", "greater", 0)
NOT_ANNOTATED = condition("total_annotations", "equal", 0)
"""Skipped annotations do not count as annotations."""


def query(conditions: Sequence[Condition], *, by_id: bool = False) -> str:
    """The parameter `query` of /api/tasks: tasks that meet all conditions, with `by_id` by ascending id."""
    asked = {"filters": {"conjunction": "and", "items": list(conditions)}}
    return json.dumps(asked | ({"ordering": ["tasks:id"]} if by_id else {}))
