"""Answers the pages: reads what they show from the store, and does what their forms ask for."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from itertools import islice

from flask import Request, Response

from functions.train_trigger.status.history import read_history
from functions.train_trigger.status.project import ProjectStatus, read_status, read_statuses
from functions.train_trigger.trigger import Trigger
from functions.train_trigger.ui.actions import Actions, Asked
from functions.train_trigger.ui.forgery import Tokens, came_from_another_site
from functions.train_trigger.ui.html import Html
from functions.train_trigger.ui.views import REPORT, ControlView, findings_of, version_rows
from shared.errors import BadRequest, LabelloopError, NotKnown, StoreError
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import keys
from shared.state.budget import NOTHING_USED, Budget, Used
from shared.state.projects import projects
from shared.state.registry import Registry, read_manifests_once
from shared.state.spending import used_in_store
from shared.web.last_known import LastKnown

logger = logging.getLogger(__name__)

_AT_ONCE = 48  # questions to the store for one page
_PROJECTS = 10  # of one page
_NEWEST = 24  # versions that a page reads
_ROWS = 8  # versions in a control's table on the page of its project
_MAX_REPORT = 10_000_000  # bytes
_LIVE, _IDLE = 5, 30  # seconds after which a page asks for itself again, with a run under way and without
_USED_MAX_AGE = 60.0  # seconds
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"


class Pages:
    """Thread-safe. What is read is bounded, whatever the number of versions and projects."""

    def __init__(
        self, settings: Settings, store: ObjectStore, trigger: Trigger, look_soon: Callable[[str], None]
    ) -> None:
        """`look_soon(uid)` reconciles a project on another thread."""
        self._settings = settings
        self._store = store
        self._html = Html()
        self._read_manifest = read_manifests_once(store)
        self._used: LastKnown[Used] = LastKnown(_USED_MAX_AGE)
        self._actions = Actions(store, trigger, look_soon)
        key = settings.label_studio_api_key  # the one secret that every instance has
        self._tokens = Tokens(key.get_secret_value() if key else "")
        self._handlers: Mapping[str, Callable[[Request], Response]] = {
            "projects": self._projects,
            "project": self._project,
            "control": self._control,
            "report": self._report,
            "train": self._action,
            "rollback": self._action,
            "prelabel": self._action,
        }

    def answer(self, page: str, request: Request) -> Response:
        """One page. Errors are pages too."""
        try:
            return self._handlers[page](request)
        except NotKnown as error:
            return self._problem(request, 404, "Not found", str(error))
        except BadRequest as error:
            return self._problem(request, 400, "This address is not understood", str(error))
        except LabelloopError as error:
            logger.error(str(error), extra={"event": "page_failed", "page": page, "error": type(error).__name__})
            heading = "The store cannot be read now" if isinstance(error, StoreError) else "This failed"
            return self._problem(request, 503, heading, str(error))

    def file(self, name: str) -> Response:
        """A file that pages name."""
        return self._html.file(name)

    def _projects(self, request: Request) -> Response:
        after = request.args.get("after", "")
        uids = list(islice((uid for uid in projects(self._store) if uid > after), _PROJECTS + 1))
        shown = uids[:_PROJECTS]
        statuses = read_statuses(
            self._store,
            shown,
            self._settings,
            in_store=self._used_in_store(),
            at_once=_AT_ONCE,
            read_manifest=self._read_manifest,
        )
        return self._html.page(
            request,
            "projects.html",
            title="Projects",
            projects=statuses,
            following=shown[-1] if len(uids) > len(shown) else None,
            after=after,
            store_url=self._store.url,
            refresh=_LIVE if any(map(_is_live, statuses)) else _IDLE,
        )

    def _project(self, request: Request) -> Response:
        status = self._read(_uid(request))
        return self._html.page(
            request,
            "project.html",
            title=status.title or f"Project {project_id(status.uid)}",
            project=status,
            controls=[ControlView.of(control, rows=_ROWS) for control in status.controls],
            findings=findings_of(self._store, self._settings, status),
            push=self._settings.push == "on" and status.push,
            refresh=_LIVE if _is_live(status) else _IDLE,
        )

    def _control(self, request: Request) -> Response:
        uid, name, before = _uid(request), request.args.get("control", ""), _number(request.args, "before")
        registry = Registry(self._store, uid, self._read_manifest)
        (history,) = read_history(registry, [name], newest=_NEWEST, before=before, at_once=_AT_ONCE)
        if not history.numbers:
            raise NotKnown(f"project {uid} has no version of a control {name!r}")
        first = history.versions[0].manifest.version if history.versions else 0
        return self._html.page(
            request,
            "control.html",
            title=name,
            uid=uid,
            name=name,
            count=len(history.numbers),
            older=first if first > history.numbers[0] else None,
            before=before,
            rows=version_rows(history.versions),
            refresh=_IDLE,
        )

    def _report(self, request: Request) -> Response:
        uid, control, number = _uid(request), request.args.get("control", ""), _number(request.args, "version")
        manifest = Registry(self._store, uid, self._read_manifest).find_manifest(control, number or 0)
        entry = next((file for file in manifest.files if file.name == REPORT), None) if manifest else None
        if entry is None or entry.size > _MAX_REPORT:
            raise NotKnown(f"v{number} of {control!r} of project {uid} has no report")
        stored = self._store.get(keys.file(uid, control, entry.sha256, entry.name))
        if stored is None or hashlib.sha256(stored.data).hexdigest() != entry.sha256:
            raise NotKnown(f"the report of v{number} of {control!r} is damaged in the store")
        return self._html.foreign(stored.data, _REPORT_POLICY)

    def _action(self, request: Request) -> Response:
        """GET asks, POST does."""
        action = request.path.strip("/").rpartition("/")[2]
        given = request.form if request.method == "POST" else request.args
        asked = Asked(_uid(request), given.get("control", ""), _number(given, "version") or 0)
        about = "\n".join((action, asked.uid, str(asked.version), asked.control))
        if request.method == "POST" and not self._is_ours(request, about):
            text = "It did not come from this page, or the page was open for too long: go back and press the button."
            return self._problem(request, 403, "Nothing was done", text)
        status = self._read(asked.uid)
        if action == "rollback" and asked.control not in [control.name for control in status.controls]:
            raise NotKnown(f"project {asked.uid} has no control {asked.control!r}")
        if request.method == "GET":
            question = self._actions.question(action, asked)
            token = self._tokens.make(request, about)
            return self._html.page(
                request,
                "question.html",
                title=question.heading,
                project=status,
                question=question,
                action=action,
                asked=asked,
                token=token,
            )
        outcome = self._actions.do(action, asked)
        return self._html.page(
            request, "outcome.html", status=outcome.status, title=outcome.heading, project=status, outcome=outcome
        )

    def _is_ours(self, request: Request, about: str) -> bool:
        if not came_from_another_site(request) and self._tokens.fits(request, about, request.form.get("token", "")):
            return True
        logger.warning("a form of another site was refused", extra={"event": "forged_form", "path": request.path})
        return False

    def _read(self, uid: str) -> ProjectStatus:
        status = read_status(
            self._store,
            uid,
            self._settings,
            self._used_in_store(),
            newest=_NEWEST,
            at_once=_AT_ONCE,
            read_manifest=self._read_manifest,
        )
        if not status.known:
            raise NotKnown(f"the store holds no project {uid}")
        return status

    def _used_in_store(self) -> Used:
        """What the jobs of all projects have used, if that is limited: summed up once a minute."""
        if not Budget.of(self._settings).of_store:
            return NOTHING_USED
        return self._used.get("store", lambda: used_in_store(self._store))

    def _problem(self, request: Request, status: int, heading: str, text: str) -> Response:
        return self._html.page(request, "problem.html", status=status, title=heading, text=text)


def _is_live(status: ProjectStatus) -> bool:
    return bool(status.jobs.training or status.jobs.prelabel)


def _uid(request: Request) -> str:
    """The project that is asked for. Raises BadRequest."""
    given = request.args if request.method == "GET" else request.form
    uid = given.get("project", "")
    project_id(uid)
    return uid


def _number(given: Mapping[str, str], name: str) -> int | None:
    """A number of a version; None: it is not given. Raises BadRequest."""
    text = given.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequest(f"{name}={text[:20]!r} is no number of a version")
    return int(text)
