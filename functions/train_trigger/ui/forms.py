"""The forms of the page: an action first asks a question, and is done if the form that comes back is ours."""

import logging
from collections.abc import Callable
from dataclasses import replace

from flask import Request, Response

from functions.train_trigger.status.project import ProjectStatus
from functions.train_trigger.ui.actions import Actions, Asked, overtaken, seen_by
from functions.train_trigger.ui.forgery import Tokens
from functions.train_trigger.ui.html import Html
from functions.train_trigger.ui.parameters import NO_VERSION, number_of, project_of
from shared.errors import BadRequest, NotKnown
from shared.settings import Settings
from shared.web.access import came_from_another_site

logger = logging.getLogger(__name__)


class Forms:
    """Answers the requests of all actions. Thread-safe."""

    def __init__(self, settings: Settings, html: Html, actions: Actions, read: Callable[[str], ProjectStatus]) -> None:
        """`read(uid)`: the project now. Raises NotKnown, StoreError."""
        self._html = html
        self._actions = actions
        self._read = read
        _, token = settings.label_studio()
        self._tokens = Tokens(token)  # a secret that every instance has

    def answer(self, request: Request) -> Response:
        """The question of an action (GET), or its outcome (POST). Raises NotKnown, BadRequest, StoreError."""
        action = request.path.strip("/").rpartition("/")[2]
        given = request.form if request.method == "POST" else request.args
        seen = request.form.get("seen", "")
        asked = Asked(project_of(request), given.get("control", ""), number_of(given, "version") or 0, seen)
        if action == "rollback" and not asked.version:
            raise BadRequest(NO_VERSION)
        if request.method == "POST" and not self._is_ours(request, _signed(action, asked)):
            text = "It did not come from this page, or the page was open for too long: go back and press the button."
            return self._html.page(request, "problem.html", status=403, title="Nothing was done", text=text)
        status = self._read(asked.uid)
        if action == "rollback" and asked.control not in [control.name for control in status.controls]:
            raise NotKnown(f"project {asked.uid} has no control {asked.control!r}")
        if request.method == "GET":
            asked = replace(asked, seen=seen_by(action, asked, status))
            question = self._actions.question(action, asked, status)
            token = self._tokens.make(request, _signed(action, asked))
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
        outcome = overtaken(action, asked, status) or self._actions.do(action, asked)
        return self._html.page(
            request, "outcome.html", status=outcome.status, title=outcome.heading, project=status, outcome=outcome
        )

    def _is_ours(self, request: Request, about: str) -> bool:
        if not came_from_another_site(request) and self._tokens.fits(request, about, request.form.get("token", "")):
            return True
        logger.warning("a form of another site was refused", extra={"event": "forged_form", "path": request.path})
        return False


def _signed(action: str, asked: Asked) -> str:
    """What the token of a form is for."""
    return "\n".join((action, asked.uid, str(asked.version), asked.seen, asked.control))
