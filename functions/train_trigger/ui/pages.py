"""Answers the pages: reads what they show from the store. `forms` does what a person asks for on them."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from itertools import islice

from flask import Request, Response

from functions.train_trigger.status.counting import LabelStudio, counting
from functions.train_trigger.status.history import read_history
from functions.train_trigger.status.policy import GATE, presets, rules, thresholds
from functions.train_trigger.status.project import ControlStatus, ProjectStatus, Unreadable, read_status, read_statuses
from functions.train_trigger.trigger import Trigger
from functions.train_trigger.ui.actions import Actions
from functions.train_trigger.ui.forms import Forms
from functions.train_trigger.ui.html import Html
from functions.train_trigger.ui.parameters import NO_VERSION, control_of, number_of, project_of
from functions.train_trigger.ui.views import ControlView, disputing, findings_of, version_rows
from shared.errors import BadRequest, LabelloopError, NotKnown, StoreError, StoreRefusal
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.side_by_side import both, side_by_side
from shared.state import keys
from shared.state.budget import NOTHING_USED, Budget, Used
from shared.state.effort import CountedEffort, read_effort
from shared.state.projects import projects
from shared.state.registry import Registry, read_manifests_once
from shared.state.spending import used_in_store
from shared.state.suspects import Listed, newest_first, read_suspects
from shared.state.versions import REPORT
from shared.web.last_known import LastKnown

logger = logging.getLogger(__name__)

_AT_ONCE = 48  # questions to the store for one page
_PROJECTS = 10  # of one page
_NEWEST = 24  # versions that a page reads
_SUSPECTS = 50  # on their page
_ROWS = 8  # versions in a control's table on the page of its project
_MAX_REPORT = 10_000_000  # bytes
_LIVE, _IDLE = 5, 30  # seconds after which a page asks for itself again, with a run under way and without
_USED_MAX_AGE = 60.0  # seconds
_PATIENCE = 0.1  # seconds that a page waits for Label Studio; then it shows what was known, and the next one knows
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"


class Pages:
    """Thread-safe. What is read is bounded, whatever the number of versions and projects."""

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        trigger: Trigger,
        label_studio: LabelStudio,
        look_soon: Callable[[str], None],
    ) -> None:
        """`look_soon(uid)` reconciles a project on another thread."""
        self._count = counting(label_studio, patience=_PATIENCE)
        self._settings = settings
        self._store = store
        self._html = Html()
        self._read_manifest = read_manifests_once(store)
        self._used: LastKnown[Used] = LastKnown(_USED_MAX_AGE)
        forms = Forms(settings, self._html, Actions(store, trigger, look_soon), self._read)
        self._handlers: Mapping[str, Callable[[Request], Response]] = {
            "projects": self._projects,
            "project": self._project,
            "control": self._control,
            "report": self._report,
            "suspects": self._suspects,
            **dict.fromkeys(("train", "rollback", "prelabel", "stop", "stop-writing"), forms.answer),
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
            return self._problem(request, 503, _heading(error), str(error))

    def file(self, name: str) -> Response:
        """A file that pages name."""
        return self._html.file(name)

    def _projects(self, request: Request) -> Response:
        after = request.args.get("after", "")
        uids = list(islice((uid for uid in projects(self._store) if uid > after), _PROJECTS + 1))
        shown = uids[:_PROJECTS]
        found = read_statuses(
            self._store,
            shown,
            self._settings,
            in_store=self._used_in_store(),
            at_once=_AT_ONCE,
            read_manifest=self._read_manifest,
            count=self._count,
        )
        readable = [one for one in found if isinstance(one, ProjectStatus)]
        return self._html.page(
            request,
            "projects.html",
            title="Projects",
            projects=readable,
            unreadable=[one for one in found if isinstance(one, Unreadable)],
            following=shown[-1] if len(uids) > len(shown) else None,
            after=after,
            store_url=self._store.url,
            refresh=_LIVE if any(map(_is_live, readable)) else _IDLE,
        )

    def _project(self, request: Request) -> Response:
        uid = project_of(request)
        status, effort = both(lambda: self._read(uid), lambda: self._effort(uid))
        return self._html.page(
            request,
            "project.html",
            title=status.title or f"Project {project_id(status.uid)}",
            project=status,
            controls=[
                ControlView.of(control, rows=_ROWS, effort=effort, listed=listed)
                for control, listed in zip(status.controls, self._listed(status), strict=True)
            ],
            findings=findings_of(self._settings, status),
            rules=rules(self._settings, status.record),
            presets=presets(status.served),
            thresholds=thresholds(status.served, self._settings, status.record),
            gate=GATE,
            push=self._settings.push == "on" and status.push,
            refresh=_LIVE if _is_live(status) else _IDLE,
        )

    def _effort(self, uid: str) -> CountedEffort | None:
        """What predictions saved; a record that is no valid one takes nothing else from the page."""
        try:
            return read_effort(self._store, uid)
        except StoreRefusal as error:
            logger.warning(str(error), extra={"event": "effort_not_told", "project": uid})
            return None

    def _listed(self, status: ProjectStatus) -> list[Listed | None]:
        """What each control's newest version finds worth a look; a damaged list takes nothing else away."""

        def read(control: ControlStatus) -> Listed | None:
            manifest = disputing(control)
            try:
                return read_suspects(self._store, status.uid, control.name, [manifest]) if manifest else None
            except StoreRefusal as error:
                logger.warning(str(error), extra={"event": "suspects_not_told", "project": status.uid})
                return None

        return side_by_side(read, status.controls, at_once=_AT_ONCE)

    def _control(self, request: Request) -> Response:
        uid, name, before = project_of(request), control_of(request), number_of(request.args, "before")
        registry = Registry(self._store, uid, self._read_manifest)
        (history,) = read_history(registry, [name], newest=_NEWEST, before=before, at_once=_AT_ONCE)
        if not history.numbers:
            raise NotKnown(f"project {uid} has no version of a control {name!r}")
        older = [number for number in history.numbers if before is None or number < before][:-_NEWEST]
        return self._html.page(
            request,
            "control.html",
            title=name,
            uid=uid,
            name=name,
            count=len(history.numbers),
            older=older[-1] + 1 if older else None,
            before=before,
            rows=version_rows(history.versions),
            unreadable=history.unreadable,
            refresh=_IDLE,
        )

    def _report(self, request: Request) -> Response:
        uid, control, number = project_of(request), control_of(request), number_of(request.args, "version")
        if number is None:
            raise BadRequest(NO_VERSION)
        manifest = Registry(self._store, uid, self._read_manifest).find_manifest(control, number)
        entry = manifest.find_file(REPORT) if manifest else None
        if entry is None or entry.size > _MAX_REPORT:
            raise NotKnown(f"v{number} of {control!r} of project {uid} has no report")
        stored = self._store.get(keys.file(uid, control, entry.sha256, entry.name))
        if stored is None or hashlib.sha256(stored.data).hexdigest() != entry.sha256:
            raise NotKnown(f"the report of v{number} of {control!r} is damaged in the store")
        return self._html.foreign(stored.data, _REPORT_POLICY)

    def _suspects(self, request: Request) -> Response:
        uid, name = project_of(request), control_of(request)
        registry = Registry(self._store, uid, self._read_manifest)
        listed = read_suspects(self._store, uid, name, newest_first(registry, name))
        if listed is None:
            raise NotKnown(f"no version of {name!r} of project {uid} lists annotations that are worth a look")
        shown = listed.open[:_SUSPECTS]
        return self._html.page(
            request,
            "suspects.html",
            title=f"Worth a look: {name}",
            uid=uid,
            name=name,
            listed=listed,
            judge=listed.judge,
            shown=len(shown),
            rows=[(suspect, suspect.address(self._settings.label_studio_url, uid)) for suspect in shown],
        )

    def _read(self, uid: str) -> ProjectStatus:
        status = read_status(
            self._store,
            uid,
            self._settings,
            self._used_in_store(),
            newest=_NEWEST,
            at_once=_AT_ONCE,
            read_manifest=self._read_manifest,
            count=self._count,
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


def _heading(error: LabelloopError) -> str:
    if isinstance(error, StoreRefusal):
        return "A person has to mend this"
    return "The store cannot be read now" if isinstance(error, StoreError) else "This failed"


def _is_live(status: ProjectStatus) -> bool:
    return bool(status.jobs.training or status.jobs.prelabel)
