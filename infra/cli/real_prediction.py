"""One real prediction: functions may answer, and yet every task be empty, for want of weights or of its image."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import requests

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import Project
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.settings import Settings
from shared.web.forwarding import EMPTY_HEADER, read_empty_header
from shared.web.peer import call

_MARGIN = 5.0  # seconds that the answer may take beyond predict's own deadline
_REMEDIES = {
    "refused": "if that address is yours, name it in LABELLOOP_ALLOWED_PRIVATE_HOSTS of functions/predict",
    "unauthorized": "the user of functions/predict's LABEL_STUDIO_API_KEY must be allowed to see the file",
    "no_model": "`labelloop base add` says why they cannot be made; a file of your own: LABELLOOP_BASE_WEIGHTS",
}
_NO_WORD = "it does not say why; its log does"


def first_task(label_studio: LabelStudio, project: Project) -> dict[str, Any] | None:
    """A task of the project, as `/predict` gets it; None if there is none. Raises LabelStudioError."""
    asked = {"project": str(project.id), "page_size": "1", "resolve_uri": "false"}
    tasks = label_studio.get_json("/api/tasks", asked)["tasks"]
    return tasks[0] if tasks else None


def check_prediction(
    label_studio: LabelStudio,
    settings: Settings,
    project: Project,
    *,
    failed: Literal["problem", "warning"] = "problem",
) -> list[Finding]:
    """Ask functions/predict for the prediction of a real task; nothing is stored.

    No finding if there is no task, or predict is not reachable: other checks say so. `failed`: the level if none came.
    """
    if settings.predict_url is None:
        return []
    try:
        task = first_task(label_studio, project)
    except LabelStudioError as error:
        return [Finding(failed, "prediction", str(error))]
    if task is None:
        return []
    asked = {"id": task.get("id"), "data": task.get("data"), "is_labeled": True}  # never in the control group
    body = {"tasks": [asked], "project": project.uid, "label_config": project.answer["label_config"], "params": {}}
    started, timeout = time.monotonic(), settings.predict_deadline + _MARGIN
    url, where = f"{settings.predict_url}/predict", f"a real prediction, of task {task.get('id')}"
    try:
        reply = call("POST", url, settings, "basic", timeout=timeout, body=body)
    except requests.ReadTimeout:
        return [Finding(failed, "prediction", f"{where}, did not come within {timeout:.0f} s")]
    except requests.RequestException:
        return []
    took = time.monotonic() - started
    item = _item(reply)
    if isinstance(item, dict):
        return [Finding("ok", "prediction", f"{where}, {_came(item, project)} ({took:.1f} s)")]
    if reply.ok:
        reason, why = (
            read_empty_header(reply.headers.get(EMPTY_HEADER, "")) if EMPTY_HEADER in reply.headers else ("", "")
        )
    else:
        reason, why = "", f"functions/predict answered {reply.status_code}; its log says why"
    return [Finding(failed, "prediction", f"{where}, failed: {why or _NO_WORD}", _REMEDIES.get(reason, ""))]


def _item(reply: requests.Response) -> Any:
    """The first item of the answer; None if it is no answer with items."""
    try:
        return reply.json()["results"][0]
    except (requests.JSONDecodeError, LookupError, TypeError):
        return None


def _came(item: dict[str, Any], project: Project) -> str:
    version = item.get("model_version") or "?"
    regions = [one for one in item.get("result") or () if isinstance(one, dict)]
    if not regions:
        return f"came from {version}: it found nothing there"
    return f"came from {version}: {_counts(regions, several=len(project.controls) > 1)}"


def _counts(regions: Iterable[dict[str, Any]], *, several: bool) -> str:
    """How many of each kind: "14 boxes"; with `several` controls "14 boxes of 'label', 1 choice of 'season'"."""
    counts = Counter((str(one.get("type")), str(one.get("from_name"))) for one in regions)
    return ", ".join(
        f"{count} {_kind(kind, count)}" + (f" of {name!r}" if several else "") for (kind, name), count in counts.items()
    )


def _kind(kind: str, count: int) -> str:
    one, many = {"rectanglelabels": ("box", "boxes"), "choices": ("choice", "choices")}.get(kind, ("region", "regions"))
    return one if count == 1 else many
