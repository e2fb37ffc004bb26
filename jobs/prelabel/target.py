"""A project of Label Studio, to write predictions into (`ports.Target`): seen with Label Studio 1.23.2.

`POST /api/projects/N/import/predictions` stores whatever it gets, also twice, and sends no event; tasks keep their
`updated_at`. One task that is gone refuses the whole request, while predictions that it finds invalid are left out
without a word: only `created` tells. So what is there is read from Label Studio before anything is stored again.
"""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jobs.prelabel.ports import WHOLE, Page, Part
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio, ProjectState
from shared.labelstudio.filters import NOT_ANNOTATED, Condition, above, condition, query
from shared.labelstudio.requests import Task
from shared.labelstudio.retries import with_retries
from shared.state.model_version import is_ours

logger = logging.getLogger(__name__)

_PAGE = 250  # tasks
_PREDICTIONS_PAGE = 50  # tasks with all their predictions: megabytes where these are masks
_AT_ONCE = 4  # requests at a time, so that Label Studio stays fast for annotators
_PRUNE_SECONDS = 300.0  # of one run: Label Studio removes them one by one, slowly. The next run goes on
_REPEATED_SECONDS = 1.0
"""After so long Label Studio on SQLite does a request again whose last write found the database locked. What the first
try had written stays (core/middleware.py, DatabaseIsLockedRetryMiddleware)."""
_NAMED = 20  # tasks that a log line names
_SHOWN_LENGTH = 500  # characters of a task's versions that Label Studio answers


class LabelStudioTarget:
    """A `ports.Target`."""

    def __init__(self, label_studio: LabelStudio, project_id: int, *, page: int = _PAGE) -> None:
        """`page`: tasks that are listed at a time."""
        self._label_studio = label_studio
        self._project_id = project_id
        self._page = page

    @with_retries
    def state(self) -> ProjectState:
        """Counters, labeling config and Label Studio's clock."""
        return self._label_studio.project(self._project_id)

    @with_retries
    def waiting(self, after: int) -> int:
        """The number of tasks without annotations whose id is above `after`."""
        return self._label_studio.unannotated_tasks(self._project_id, after)

    def pages(self, version: str, after: int, part: Part = WHOLE, *, renewing: bool = False) -> Iterator[Page]:
        """Tasks without annotations whose id is above `after`; those that need a prediction have none of `version`.

        `renewing`: those that have one need another.
        Each page is asked for as "the next tasks after this id", since tasks leave while annotators work.
        """
        while page := self._tasks([above(after), NOT_ANNOTATED], self._page):
            last = int(page[-1]["id"])
            ours = [task for task in page if part.holds(task["id"])]
            there = self._predicted(after, last, version) if ours else set()
            wanted = [task for task in ours if renewing or task["id"] not in there]
            tasks = [Task(id=task["id"], data=task["data"]) for task in wanted]
            yield Page(tasks, last, len(ours), there.intersection(task["id"] for task in wanted))
            after = last

    def store(self, predictions: Sequence[dict[str, Any]], *, renewing: bool = False) -> int:
        """Store predictions of one version, each with its `task`, once; answers how many are there then.

        Those that are there already, from Label Studio's own asking or an answer that was lost, are not sent.
        `renewing`: they get the new result, and keep their id, to which annotations may refer.
        """
        try:
            there, sent, created = self._store_missing(predictions, renewing=renewing)
        except LabelStudioError as error:
            if error.status not in (400, 413):
                raise
            if len(predictions) > 1:  # a task is gone, or a proxy takes no such long body: nothing was stored
                half = len(predictions) // 2
                return sum(self.store(some, renewing=renewing) for some in (predictions[:half], predictions[half:]))
            logger.warning(f"a prediction was refused: {error}", extra={"event": "prediction_refused"})
            return 0
        if created < sent:
            logger.warning(
                f"Label Studio did not store {sent - created} of {sent} predictions, since it finds them invalid",
                extra={"event": "predictions_refused", "tasks": [one["task"] for one in predictions][:_NAMED]},
            )
        return there + created

    def show(self, version: str) -> bool:
        """Let annotators see this version's predictions. False if Label Studio holds none of it."""
        path = f"/api/projects/{self._project_id}/"
        if self._get(path).get("model_version") == version:
            return True
        if version not in (one["model_version"] for one in self._versions()):
            return False
        self._patch(path, {"model_version": version})
        return True

    def sampling(self) -> str:
        """In which order Label Studio hands out tasks. Raises LabelStudioError."""
        return str(self._get(f"/api/projects/{self._project_id}/").get("sampling") or "")

    def hand_out(self, sampling: str) -> None:
        """Set that order. Raises LabelStudioError."""
        self._patch(f"/api/projects/{self._project_id}/", {"sampling": sampling})

    def prune(self, keep: Collection[str], controls: Sequence[str]) -> int:
        """Remove predictions of other versions of these controls from tasks without annotations; answers their number.

        Those of annotated tasks stay: annotations refer to them.
        """
        names = [one["model_version"] for one in self._versions()]
        old = [name for name in names if name not in keep and is_ours(name, controls)]
        until = time.monotonic() + _PRUNE_SECONDS
        with ThreadPoolExecutor(_AT_ONCE, "prune") as pool:
            return sum(self._prune(version, pool, until) for version in old)

    def _prune(self, version: str, pool: ThreadPoolExecutor, until: float) -> int:
        after, removed = 0, 0
        while time.monotonic() < until and (
            page := self._tasks([above(after), NOT_ANNOTATED, _with_version(version)], _PREDICTIONS_PAGE, fields="all")
        ):
            found = [one["id"] for task in page for one in task["predictions"] if one["model_version"] == version]
            removed += sum(pool.map(self._delete, found))
            after = int(page[-1]["id"])
        return removed

    @with_retries
    def _delete(self, prediction: int) -> bool:
        try:
            self._label_studio.request_json("DELETE", f"/api/predictions/{prediction}/")
        except LabelStudioError as error:
            if error.status == 404:
                return False
            raise
        return True

    @with_retries
    def _store_missing(self, predictions: Sequence[dict[str, Any]], *, renewing: bool) -> tuple[int, int, int]:
        """How many are there already, how many were sent, and how many Label Studio took of these."""
        ids = [one["task"] for one in predictions]
        there = self._predicted(min(ids) - 1, max(ids), predictions[0]["model_version"])
        missing = [one for one in predictions if one["task"] not in there]
        if known := [one for one in predictions if one["task"] in there]:
            self._remove_doubles(known)  # Label Studio may have done again a request that was given up
            if renewing:
                self._renew(known)
        return len(known), len(missing), self._import(missing) if missing else 0

    def _renew(self, predictions: Sequence[dict[str, Any]]) -> None:
        """Give the predictions of these tasks the new results, unless somebody has annotated them by now."""
        new, version = {one["task"]: one for one in predictions}, predictions[0]["model_version"]
        old = [
            (int(one["id"]), new[task["id"]])
            for task in self._with(version, min(new) - 1, max(new), fields="all")
            if task["id"] in new and not task["total_annotations"]
            for one in task["predictions"]
            if one["model_version"] == version
        ]
        with ThreadPoolExecutor(_AT_ONCE, "renew") as pool:
            for _ in pool.map(lambda pair: self._replace(*pair), old):
                pass

    def _replace(self, prediction: int, new: dict[str, Any]) -> None:
        sent = ("result", "score", "task")  # the task because a flag of Label Studio asks for it
        body = {key: new[key] for key in sent if key in new}
        try:
            self._patch(f"/api/predictions/{prediction}/", body)
        except LabelStudioError as error:
            if error.status != 404:  # removed meanwhile
                raise

    def _import(self, predictions: Sequence[dict[str, Any]]) -> int:
        path = f"/api/projects/{self._project_id}/import/predictions"
        began = time.monotonic()
        answer = self._label_studio.request_json("POST", path, list(predictions))
        if time.monotonic() - began >= _REPEATED_SECONDS:
            self._remove_doubles(predictions)
        created = answer.get("created") if isinstance(answer, dict) else None
        if not isinstance(created, int):
            raise LabelStudioError(f"{path} does not say how many predictions were stored: {str(answer)[:200]}")
        return created

    def _remove_doubles(self, predictions: Sequence[dict[str, Any]]) -> None:
        """Of what is there more than once, leave the first; of a task that is annotated by now, all."""
        ids, version = {one["task"] for one in predictions}, predictions[0]["model_version"]
        removed = 0
        for task in self._with(version, min(ids) - 1, max(ids), fields="all"):
            if task["id"] in ids and not task["total_annotations"]:  # annotations refer to predictions
                same = sorted(int(one["id"]) for one in task["predictions"] if one["model_version"] == version)
                removed += sum(self._delete(one) for one in same[1:])
        if removed:
            logger.warning(
                f"{removed} predictions were there twice and are removed: Label Studio on SQLite does a request again "
                "after its database was locked",
                extra={"event": "doubles_removed", "version": version},
            )

    def _predicted(self, after: int, last: int, version: str) -> set[int]:
        """Ids of the tasks above `after`, up to `last`, that have a prediction of exactly `version`."""
        return {int(task["id"]) for task in self._with(version, after, last) if self._has(task, version)}

    def _with(self, version: str, after: int, last: int, *, fields: str = "task_only") -> Iterator[dict[str, Any]]:
        """Tasks above `after`, up to `last`, with a version's predictions, or with those of one that contains it.

        `fields` "all": with their predictions.
        """
        up_to, size = condition("id", "less_or_equal", last), _PREDICTIONS_PAGE if fields == "all" else self._page
        while page := self._tasks([above(after), up_to, _with_version(version)], size, fields=fields):
            yield from page
            after = int(page[-1]["id"])

    def _has(self, task: dict[str, Any], version: str) -> bool:
        """Whether one of a task's versions, which Label Studio answers as one text, is exactly `version`."""
        text = str(task.get("predictions_model_versions") or "")
        if len(text) < _SHOWN_LENGTH and not set(version) & set(',"\\'):
            return version in (part.strip() for part in text.split(","))
        predictions = self._get("/api/predictions/", {"task": str(task["id"])})
        return any(one["model_version"] == version for one in predictions)

    def _versions(self) -> list[dict[str, Any]]:
        """The model versions of the stored predictions."""
        answer = self._get(f"/api/projects/{self._project_id}/model-versions", {"extended": "true"})
        return [one for one in answer["static"] if one["model_version"]]

    def _tasks(
        self,
        conditions: Sequence[Condition],
        size: int,
        *,
        fields: str = "task_only",
    ) -> list[dict[str, Any]]:
        """The first tasks that meet all conditions, by ascending id."""
        params = {
            "project": str(self._project_id),
            "query": query(conditions, by_id=True),
            "fields": fields,
            "page_size": str(size),
            "resolve_uri": "false",
        }
        try:
            tasks: list[dict[str, Any]] = self._get("/api/tasks/", params)["tasks"]
        except (TypeError, LookupError) as error:
            raise LabelStudioError(f"{self._label_studio.url}/api/tasks/ lists no tasks") from error
        return tasks

    @with_retries
    def _get(self, path: str, params: dict[str, str] | None = None) -> Any:
        return self._label_studio.get_json(path, params)

    @with_retries
    def _patch(self, path: str, body: dict[str, Any]) -> None:
        self._label_studio.request_json("PATCH", path, body)


def _with_version(version: str) -> Condition:
    """Also of versions that only contain this one, such as label:v1 and label:v12."""
    return condition("predictions_model_versions", "contains", [version], "List")
