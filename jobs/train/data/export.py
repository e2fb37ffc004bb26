"""Reads the annotated tasks of a project: pages of tasks without annotations, then each task's annotations.

`GET /api/tasks?fields=all` would answer both at once, but also drafts and the predictions of all versions, megabytes a
task, and no parameter leaves these out.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from jobs.train.data.annotations import Annotation, ExportedTask
from shared.errors import LabelStudioError, ProjectGone, Unauthorized
from shared.labelstudio.api import LabelStudio, ProjectState
from shared.labelstudio.filters import ANNOTATED, above, query
from shared.labelstudio.retries import with_retries

_TIMEOUT = 60.0  # seconds for one answer
_SLOW = 1 / 6  # of the time-out: a page that fails after that long is too large
_MAX_FAILING = 3  # tasks in a row that Label Studio fails to answer; more are an outage
_AT_ONCE = 4  # requests at a time, so that Label Studio stays fast for annotators
_TOLD = ("updated_at", "total_annotations", "cancelled_annotations")

IsSame = Callable[[int, str], bool]
"""Id of a task, and what Label Studio's list says of it → whether its annotations are known already."""


class _Unreadable(LabelStudioError):
    """Label Studio's answer cannot be read; trying again would not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=200)


class LabelStudioExporter:
    """Reads tasks in the order of their ids; each page is asked for as "the next tasks after this id".

    Page numbers would skip tasks, because tasks enter and leave the filter while annotators work.
    """

    def __init__(self, url: str, api_key: str, *, page_size: int = 100, timeout: float = _TIMEOUT) -> None:
        """`page_size` in tasks, `timeout` of each request in seconds."""
        self._label_studio = LabelStudio(url, api_key, timeout=timeout)
        self._page_size = page_size
        self._slow = timeout * _SLOW

    def close(self) -> None:
        """Close idle connections."""
        self._label_studio.close()

    @with_retries
    def project(self, project_id: int) -> ProjectState:
        """Counters, config and Label Studio's clock. Raises the same errors as `tasks`."""
        return self._label_studio.project(project_id)

    @with_retries
    def shown_versions(self, project_id: int) -> list[str]:
        """The model_version of each prediction that is stored, each once. Raises the same errors as `tasks`."""
        path = f"/api/projects/{project_id}/model-versions"
        answer = self._read(path, {"extended": "true"})
        try:
            return [str(one["model_version"]) for one in answer["static"] if one["model_version"]]
        except (TypeError, LookupError) as error:
            raise _Unreadable(f"{self._label_studio.url}{path} lists no versions") from error

    def tasks(self, project_id: int, is_same: IsSame = lambda *_: False) -> Iterator[ExportedTask]:
        """Every task that has an annotation which is not cancelled, with these annotations; one page in memory.

        Of tasks of which `is_same(id, seen)` is true, the annotations are not asked for. A task that cannot be read
        comes with `unreadable` set (an import may write any JSON). Raises ProjectGone, Unauthorized and, after six
        tries, LabelStudioError.
        """
        failing = 0
        listed = (replace(task, same=is_same(task.id, task.seen)) for task in self._listed(project_id))
        for task, annotations in self._with_annotations(listed):
            try:
                exported, failing = replace(task, annotations=annotations.result()), 0
            except (ProjectGone, Unauthorized):
                raise
            except LabelStudioError as error:
                if not isinstance(error, _Unreadable):
                    failing += 1
                    self.project(project_id)  # raises if Label Studio fails as a whole
                    if failing > _MAX_FAILING:
                        raise
                exported = ExportedTask(task.id, {}, (), unreadable=f"its annotations cannot be read: {error}")
            yield exported

    def _listed(self, project_id: int) -> Iterator[ExportedTask]:
        """The tasks without annotations. A page that fails is asked for again with half the size.

        If it failed slowly, the next pages stay that small too; else the size grows again.
        """
        after, size, max_size = 0, self._page_size, self._page_size
        while True:
            begin = time.monotonic()
            try:
                page = (self._ask if size > 1 else self._page)(project_id, after, size=size)
            except (ProjectGone, Unauthorized):
                raise
            except LabelStudioError as error:
                if size > 1:
                    max_size = size // 2 if time.monotonic() - begin > self._slow else max_size
                    size //= 2
                    continue
                page = self._placeholders(project_id, after, error)
            if not page:
                return
            yield from page
            after, size = page[-1].id, min(size * 2, max_size)

    def _placeholders(self, project_id: int, after: int, error: LabelStudioError) -> list[ExportedTask]:
        """Unreadable tasks in place of the one after `after`, whose page failed with `error`, and of those after it.

        Label Studio does not answer an id without the task's data, so their ids are guessed: those just before the next
        readable task. Raises `error` if too many fail, which is an outage.
        """
        failing = 1
        for place in count(2):
            try:
                following = self._page(project_id, after, size=1, page=place)
            except ProjectGone:  # 404: no such page, so no task follows
                following = []
            except Unauthorized:
                raise
            except LabelStudioError as another:
                failing += not isinstance(another, _Unreadable)
                if failing > _MAX_FAILING or place > self._page_size:  # a whole page: this is not Label Studio
                    raise error from another
                continue
            break
        if not isinstance(error, _Unreadable):  # Label Studio may answer again by now
            with suppress(_Unreadable, LabelStudioError):
                return self._page(project_id, after, size=1)
        first = following[0].id - (place - 1) if following else after + 1
        why = f"Label Studio's answer for the task after task {after} cannot be read: {error}"
        return [ExportedTask(first + number, {}, (), unreadable=why) for number in range(place - 1)]

    @with_retries
    def _page(self, project_id: int, after: int, *, size: int, page: int = 1) -> list[ExportedTask]:
        return self._ask(project_id, after, size=size, page=page)

    def _ask(self, project_id: int, after: int, *, size: int, page: int = 1) -> list[ExportedTask]:
        """Page `page` (from 1) of the tasks with ids above `after`, `size` tasks a page."""
        params = {
            "project": str(project_id),
            "query": query([above(after), ANNOTATED], by_id=True),
            "fields": "task_only",
            "page": str(page),
            "page_size": str(size),
            "resolve_uri": "false",
        }
        try:
            return [
                ExportedTask(int(task["id"]), task["data"], (), seen=_seen(task))
                for task in self._read("/api/tasks/", params)["tasks"]
            ]
        except (TypeError, ValueError, LookupError) as error:
            raise _Unreadable(f"no id is a number, or it lists no tasks ({type(error).__name__})") from error

    def _with_annotations(
        self, tasks: Iterator[ExportedTask]
    ) -> Iterator[tuple[ExportedTask, "Future[tuple[Annotation, ...]]"]]:
        """Each task with its annotations, in order; four tasks' annotations are requested at a time."""
        pool = ThreadPoolExecutor(_AT_ONCE, "annotations")
        under_way: deque[tuple[ExportedTask, Future[tuple[Annotation, ...]]]] = deque()
        try:
            for task in tasks:
                known = task.unreadable or task.same
                under_way.append((task, pool.submit(tuple) if known else pool.submit(self._annotations, task.id)))
                if len(under_way) > _AT_ONCE:
                    yield under_way.popleft()
            while under_way:
                yield under_way.popleft()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    @with_retries
    def _annotations(self, task_id: int) -> tuple[Annotation, ...]:
        """A task's annotations that are not cancelled; empty if the task was deleted meanwhile."""
        try:
            found = self._read(f"/api/tasks/{task_id}/annotations/")
        except LabelStudioError as error:
            if error.status == 404:
                return ()
            raise
        return tuple(found) if isinstance(found, list) else ()

    def _read(self, path: str, params: dict[str, str] | None = None) -> Any:
        try:
            return self._label_studio.get_json(path, params)
        except LabelStudioError as error:
            if isinstance(error.__cause__, RecursionError):
                raise _Unreadable(str(error)) from error
            raise


def _seen(listed: Mapping[str, Any]) -> str:
    """What tells whether a listed task is the same later; empty if Label Studio does not say it."""
    told = [listed.get(name) for name in _TOLD]
    return "" if None in told else " ".join(map(str, told))
