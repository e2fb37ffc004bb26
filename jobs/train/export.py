"""The annotated tasks of a project, page by page, through label-studio-sdk."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
from label_studio_sdk.client import LabelStudio as Sdk
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.parse_error import ParsingError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from jobs.train.annotations import ExportedTask
from shared.errors import LabelStudioError, ProjectGone, Unauthorized

_TIMEOUT = 60.0  # seconds for one page


def _may_heal(error: BaseException) -> bool:
    return isinstance(error, LabelStudioError) and not isinstance(error, ProjectGone | Unauthorized)


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

        Raises ProjectGone, Unauthorized, LabelStudioError (the last after several tries of a page).
        """
        after = 0
        while page := self._page(project_id, after):
            yield from page
            after = page[-1].id

    @retry(
        retry=retry_if_exception(_may_heal),
        wait=wait_random_exponential(0.5, max=20),
        stop=stop_after_attempt(6),
        reraise=True,
    )
    def _page(self, project_id: int, after: int) -> list[ExportedTask]:
        conditions = [("filter:tasks:id", after), ("filter:tasks:total_annotations", 0)]
        items = [
            {"filter": name, "operator": "greater", "type": "Number", "value": value} for name, value in conditions
        ]
        query = json.dumps({"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]})
        try:
            pager = self._sdk.tasks.list(
                project=project_id, fields="all", query=query, page=1, page_size=self._page_size, resolve_uri=False
            )
            return [ExportedTask(int(task.id), task.data, tuple(task.annotations or ())) for task in pager.items or ()]
        except ApiError as error:
            raise _translated(error, project_id) from error
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
