"""The annotated tasks of a project, page by page, through label-studio-sdk."""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import httpx
from label_studio_sdk.client import LabelStudio as Sdk
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.parse_error import ParsingError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from jobs.train.annotations import ExportedTask
from shared.errors import LabelStudioError, ProjectGone, Unauthorized

_TIMEOUT = 60.0  # seconds for one page
_MOST_FAILING = 3  # tasks in a row on which Label Studio itself fails; more are an outage


class _Unreadable(LabelStudioError):
    """Label Studio answered, and what it answered cannot be read: no further try changes that."""


def _may_heal(error: BaseException) -> bool:
    return isinstance(error, LabelStudioError) and not isinstance(error, ProjectGone | Unauthorized | _Unreadable)


class SdkExporter:
    """Reads tasks in the order of their ids, each page asked for as "the next after this id".

    Page numbers would skip tasks: while annotators work, tasks enter and leave the filter between two pages.
    """

    def __init__(self, url: str, api_key: str, *, page_size: int = 100) -> None:
        # Redirects are not followed: the token belongs to this host. The trailing slash keeps a path prefix when the
        # SDK refreshes a token (it uses urljoin there).
        # With a transport of its own a client takes no proxy from the environment, for the same reason.
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=False, transport=httpx.HTTPTransport())
        self._sdk: Any = Sdk(  # type: ignore[no-untyped-call]
            base_url=f"{url}/", api_key=api_key, httpx_client=self._http
        )
        self._page_size = page_size

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def tasks(self, project_id: int) -> Iterator[ExportedTask]:
        """Every task with at least one annotation that is not cancelled. Holds one page at a time.

        A task that makes its page unreadable (anybody who imports tasks may write anything) is `unreadable`, and the
        others of its page are read one by one. Raises ProjectGone, Unauthorized, LabelStudioError (the last after
        several tries of a page).
        """
        after, singly = 0, 0
        while True:
            try:
                page = self._page(project_id, after, size=1 if singly else self._page_size)
            except (ProjectGone, Unauthorized):
                raise
            except LabelStudioError as error:
                if not singly:
                    singly = self._page_size
                    continue
                page = self._instead_of_one(project_id, after, error)
            if not page:
                return
            yield from page
            after, singly = page[-1].id, max(singly - 1, 0)

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
                if failing > _MOST_FAILING or place > self._page_size:  # or nobody's answers are tasks
                    raise error from another
                continue
            break
        if not isinstance(error, _Unreadable):  # it may have come back meanwhile
            with suppress(_Unreadable, LabelStudioError):
                return self._page(project_id, after, size=1)
        first = following[0].id - (place - 1) if following else after + 1
        why = f"Label Studio's answer for the task behind task {after} cannot be read: {error}"
        return [ExportedTask(first + number, {}, (), unreadable=why) for number in range(place - 1)]

    @retry(
        retry=retry_if_exception(_may_heal),
        wait=wait_random_exponential(0.5, max=20),
        stop=stop_after_attempt(6),
        reraise=True,
    )
    def _page(self, project_id: int, after: int, *, size: int, page: int = 1) -> list[ExportedTask]:
        """Page `page` of the tasks behind `after`, `size` a page."""
        conditions = [("filter:tasks:id", after), ("filter:tasks:total_annotations", 0)]
        items = [
            {"filter": name, "operator": "greater", "type": "Number", "value": value} for name, value in conditions
        ]
        query = json.dumps({"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]})
        try:
            pager = self._sdk.tasks.list(
                project=project_id, fields="all", query=query, page=page, page_size=size, resolve_uri=False
            )
            return [
                ExportedTask(
                    int(task.id), task.data, tuple(task.annotations) if isinstance(task.annotations, list) else ()
                )
                for task in pager.items or ()
            ]
        except ApiError as error:
            raise _translated(error, project_id) from error
        except (RecursionError, TypeError, ValueError, AttributeError) as error:
            raise _Unreadable(f"a value is nested too deep, or no id is a number ({type(error).__name__})") from error
        except (httpx.HTTPError, ParsingError) as error:  # a ParsingError's text repeats the whole answer
            raise LabelStudioError(
                f"Label Studio did not answer with the tasks of project {project_id} ({type(error).__name__})"
            ) from error


def _translated(error: ApiError, project_id: int) -> LabelStudioError:
    if error.status_code == 404:
        return ProjectGone(f"Label Studio has no project {project_id}")
    if error.status_code in (401, 403):
        return Unauthorized(
            f"Label Studio answered {error.status_code} for the tasks of project {project_id}: "
            "set LABEL_STUDIO_API_KEY to a token of a user who may see it"
        )
    return LabelStudioError(f"Label Studio answered {error.status_code} for the tasks of project {project_id}")
