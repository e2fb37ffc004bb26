"""A tab of Label Studio's data manager that shows the tasks with annotations that are worth a look."""

from collections.abc import Sequence
from typing import Any

from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.filters import condition

TITLE = "Worth a look (labelloop)"
MAX_TASKS = 50
"""One filter each: more are slow, and more than a person looks at."""
_VIEWS = "/api/dm/views/"
_TABLE = {
    "type": "list",
    "target": "tasks",
    "hiddenColumns": {"explore": ["tasks:inner_id"], "labeling": ["tasks:id", "tasks:inner_id"]},
    "columnsWidth": {},
    "columnsDisplayType": {},
    "gridWidth": 4,
}


def show_in_tab(label_studio: LabelStudio, project: int, tasks: Sequence[int]) -> int | None:
    """Make the tab for these tasks, or change the one that is there; without any, remove it.

    Answers its id; None if there is none now. Of more than MAX_TASKS it shows the first. Raises LabelStudioError.
    """
    views = label_studio.get_json(_VIEWS, {"project": str(project)})
    if not isinstance(views, list):
        raise LabelStudioError(f"{label_studio.url}{_VIEWS} does not answer a list of tabs")
    ours = next((view for view in views if isinstance(view, dict) and _title(view) == TITLE), None)
    shown = list(dict.fromkeys(tasks))[:MAX_TASKS]
    if not shown:
        if ours:
            label_studio.request_json("DELETE", f"{_VIEWS}{ours['id']}/")
        return None
    if not views:  # Label Studio's page makes its first tab only where there is none yet
        _make(label_studio, project, "Default", {"conjunction": "and", "items": []})
    filters = {"conjunction": "or", "items": [condition("id", "equal", task) for task in sorted(shown)]}
    if ours is None:
        return _make(label_studio, project, TITLE, filters)
    body = {"project": project, "data": (ours["data"] | {"filters": filters})}
    label_studio.request_json("PATCH", f"{_VIEWS}{ours['id']}/", body)
    return int(ours["id"])


def _make(label_studio: LabelStudio, project: int, title: str, filters: dict[str, Any]) -> int:
    body = {"project": project, "data": {"title": title, "filters": filters, "ordering": [], **_TABLE}}
    return int(label_studio.request_json("POST", _VIEWS, body)["id"])


def _title(view: dict[str, Any]) -> str:
    data = view.get("data")
    return str(data.get("title", "")) if isinstance(data, dict) else ""
