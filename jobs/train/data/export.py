"""The annotated tasks of a project, page by page, and the annotations of each by themselves.

`GET /api/tasks?fields=all` would bring both at once, but with them drafts and the predictions of all versions, which
may be megabytes a task, and nothing leaves them out. So a page brings the tasks' data alone.
"""

import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from jobs.train.data.annotations import Annotation, ExportedTask
from shared.errors import LabelStudioError, ProjectGone, Unauthorized
from shared.labelstudio.api import LabelStudio, ProjectState

_TIMEOUT = 60.0  # seconds for one answer
_SLOW = 1 / 6  # of the time-out: what failed after that long was too much for one answer
_MAX_FAILING = 3  # tasks in a row on which Label Studio itself fails; more are an outage
_AT_ONCE = 4  # requests: annotators want to be answered too
_HEALING = (408, 425, 429)  # of the 4xx


class _Unreadable(LabelStudioError):
    """Label Studio answered, and what it answered cannot be read: no further try changes that."""


def _may_heal(error: BaseException) -> bool:
    if not isinstance(error, LabelStudioError) or isinstance(error, ProjectGone | Unauthorized | _Unreadable):
        return False
    return error.status is None or error.status >= 500 or error.status in _HEALING


_patiently = retry(
    retry=retry_if_exception(_may_heal),
    wait=wait_random_exponential(0.5, max=20),
    stop=stop_after_attempt(6),
    reraise=True,
)


class LabelStudioExporter:
    """Reads tasks in the order of their ids, each page asked for as "the next after this id".

    Page numbers would skip tasks: while annotators work, tasks enter and leave the filter between two pages.
    """

    def __init__(self, url: str, api_key: str, *, page_size: int = 100, timeout: float = _TIMEOUT) -> None:
        """`timeout` in seconds bounds each answer."""
        self._label_studio = LabelStudio(url, api_key, timeout=timeout)
        self._page_size = page_size
        self._slow = timeout * _SLOW

    def close(self) -> None:
        """Close idle connections."""
        self._label_studio.close()

    @_patiently
    def project(self, project_id: int) -> ProjectState:
        """Counters, config and Label Studio's clock. Raises as `tasks`."""
        return self._label_studio.project(project_id)

    def tasks(self, project_id: int) -> Iterator[ExportedTask]:
        """Every task with at least one annotation that is not cancelled, with those. Holds one page of tasks' data.

        A task that cannot be read (anybody who imports tasks may write anything) is `unreadable`, and the others of its
        page are read all the same. Raises ProjectGone, Unauthorized, LabelStudioError (the last after several tries).
        """
        failing = 0
        for task, annotations in self._with_annotations(self._listed(project_id)):
            try:
                exported, failing = replace(task, annotations=annotations.result()), 0
            except (ProjectGone, Unauthorized):
                raise
            except LabelStudioError as error:
                if not isinstance(error, _Unreadable):
                    failing += 1
                    self.project(project_id)  # raises if it is not this task that cannot be had
                    if failing > _MAX_FAILING:
                        raise
                exported = ExportedTask(task.id, {}, (), unreadable=f"its annotations cannot be read: {error}")
            yield exported

    def _listed(self, project_id: int) -> Iterator[ExportedTask]:
        """The tasks without their annotations. A page that does not come is asked for at half its size, at once.

        One that took long to fail was too large, and so are those behind it; else the size grows again.
        """
        after, size, most = 0, self._page_size, self._page_size
        while True:
            begin = time.monotonic()
            try:
                page = (self._ask if size > 1 else self._page)(project_id, after, size=size)
            except (ProjectGone, Unauthorized):
                raise
            except LabelStudioError as error:
                if size > 1:
                    most = size // 2 if time.monotonic() - begin > self._slow else most
                    size //= 2
                    continue
                page = self._instead_of_one(project_id, after, error)
            if not page:
                return
            yield from page
            after, size = page[-1].id, min(size * 2, most)

    def _instead_of_one(self, project_id: int, after: int, error: LabelStudioError) -> list[ExportedTask]:
        """What stands for the next task, which cannot be read, and for those behind it that cannot either.

        Their ids are those before the next one that can be read: Label Studio names none without its whole data. Raises
        `error` if it is an outage.
        """
        failing = 1
        for place in count(2):
            try:
                following = self._page(project_id, after, size=1, page=place)
            except ProjectGone:  # there is no such page
                following = []
            except Unauthorized:
                raise
            except LabelStudioError as another:
                failing += not isinstance(another, _Unreadable)
                if failing > _MAX_FAILING or place > self._page_size:  # or nobody's answers are tasks
                    raise error from another
                continue
            break
        if not isinstance(error, _Unreadable):  # it may have come back meanwhile
            with suppress(_Unreadable, LabelStudioError):
                return self._page(project_id, after, size=1)
        first = following[0].id - (place - 1) if following else after + 1
        why = f"Label Studio's answer for the task behind task {after} cannot be read: {error}"
        return [ExportedTask(first + number, {}, (), unreadable=why) for number in range(place - 1)]

    @_patiently
    def _page(self, project_id: int, after: int, *, size: int, page: int = 1) -> list[ExportedTask]:
        return self._ask(project_id, after, size=size, page=page)

    def _ask(self, project_id: int, after: int, *, size: int, page: int = 1) -> list[ExportedTask]:
        """Page `page` of the tasks behind `after`, `size` a page."""
        conditions = [("filter:tasks:id", after), ("filter:tasks:total_annotations", 0)]
        items = [
            {"filter": name, "operator": "greater", "type": "Number", "value": value} for name, value in conditions
        ]
        params = {
            "project": str(project_id),
            "query": json.dumps({"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}),
            "fields": "task_only",
            "page": str(page),
            "page_size": str(size),
            "resolve_uri": "false",
        }
        try:
            return [
                ExportedTask(int(task["id"]), task["data"], ()) for task in self._read("/api/tasks/", params)["tasks"]
            ]
        except (TypeError, ValueError, LookupError) as error:
            raise _Unreadable(f"no id is a number, or it lists no tasks ({type(error).__name__})") from error

    def _with_annotations(
        self, tasks: Iterator[ExportedTask]
    ) -> Iterator[tuple[ExportedTask, "Future[tuple[Annotation, ...]]"]]:
        """The same tasks, of each the annotations that are asked for: of a few at once."""
        pool = ThreadPoolExecutor(_AT_ONCE, "annotations")
        under_way: deque[tuple[ExportedTask, Future[tuple[Annotation, ...]]]] = deque()
        try:
            for task in tasks:
                under_way.append(
                    (task, pool.submit(tuple) if task.unreadable else pool.submit(self._annotations, task.id))
                )
                if len(under_way) > _AT_ONCE:
                    yield under_way.popleft()
            while under_way:
                yield under_way.popleft()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    @_patiently
    def _annotations(self, task_id: int) -> tuple[Annotation, ...]:
        """Those of a task that are not cancelled; none if the task is gone meanwhile."""
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
