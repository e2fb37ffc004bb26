"""Checks of the token, the project, the store, the functions and the launcher. They change nothing in Label Studio.

Each answers a Finding; those that later checks need also answer what they read, or None if they could not.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_before_delay, wait_random_exponential

from functions.train_trigger.launchers import open_launcher
from functions.train_trigger.status.findings import Finding
from shared.errors import (
    LabelConfigError,
    LabelStudioError,
    LaunchError,
    NotLabelStudio,
    ProjectGone,
    SettingsError,
    StoreError,
    Unauthorized,
)
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.config_review import not_understood
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.objectstore.selftest import check_store
from shared.settings import Settings
from shared.state.projects import read_project
from shared.web.peer import ASLEEP, LOCAL, call
from shared.yolo.base_weights import model_path_problem

_TIMEOUT = 5.0  # seconds for one request to a function
_WAKING = 60.0  # seconds that a function which scales to zero may take to wake
_ADDRESS = "set LABEL_STUDIO_URL to the address of Label Studio, with its path prefix if it has one"
_NEW_KEY = (
    "make a token in Label Studio under Account & Settings → Personal Access Token and set LABEL_STUDIO_API_KEY "
    "(legacy tokens work only where the organisation allows them)"
)


@dataclass(frozen=True, slots=True)
class Project:
    """A project, as Label Studio describes it."""

    id: int
    uid: str
    title: str
    controls: tuple[Control, ...]
    answer: dict[str, Any]  # GET /api/projects/N


def check_label_studio(label_studio: LabelStudio) -> Finding:
    """Check that Label Studio answers and takes the token, which nothing else is sent."""
    try:
        label_studio.check_identity()
        kind = "legacy" if label_studio.authorization().startswith("Token ") else "personal access"
        user = label_studio.get_json("/api/current-user/whoami")
    except Unauthorized as error:
        return Finding("problem", "token", str(error), _NEW_KEY)
    except NotLabelStudio as error:
        return Finding("problem", "label_studio", str(error), _ADDRESS)
    except LabelStudioError as error:
        return Finding("problem", "label_studio", str(error))
    who = user.get("email") or user.get("username") if isinstance(user, dict) else None
    return Finding("ok", "label_studio", f"Label Studio at {label_studio.url} accepts the {kind} token of {who or '?'}")


def check_project(label_studio: LabelStudio, project: str) -> tuple[Finding, Project | None]:
    """Check that the project (id or uid) exists and has a control that labelloop serves."""
    number, _, timestamp = project.partition(".")
    try:
        answer = label_studio.get_json(f"/api/projects/{number}/")
    except ProjectGone:
        remedy = (
            f"N is the number in the address {label_studio.url}/projects/N/data; the token's user must see it; "
            f"if it was deleted there, `labelloop forget --project {project}` removes what the store holds of it"
        )
        return Finding("problem", "project", f"Label Studio has no project {number}", remedy), None
    except LabelStudioError as error:
        return Finding("problem", "project", str(error)), None
    try:
        counters = ProjectCounters.model_validate(answer)
    except ValidationError:
        message = f"{label_studio.url}/api/projects/{number}/ answers something else than a project"
        return Finding("problem", "project", message, _ADDRESS), None
    uid = counters.uid or number
    if timestamp and uid != project:
        message = f"project {number} of {label_studio.url} is {uid}, not {project}: another installation?"
        return Finding("problem", "project", message), None
    try:
        controls = parse_label_config(counters.label_config)
    except LabelConfigError as error:
        return Finding("problem", "project", f"project {number}: {error}"), None
    found = Project(counters.id, uid, counters.title, controls, answer)
    if not controls:
        return Finding(
            "problem",
            "project",
            f"the labeling config of project {number} has no control that labelloop serves",
            'give it one (docs/controls.md), such as <RectangleLabels name="label" toName="image"> on an '
            '<Image name="image" value="$image"/>',
        ), found
    named = ", ".join(
        f"{control.tag} {control.name!r} with {_count(len(control.labels), 'label')}" for control in controls
    )
    return Finding("ok", "project", f"project {number} {counters.title!r} (uid {uid}): {named}"), found


def check_config(project: Project) -> list[Finding]:
    """A warning for each part of the labeling config that labelloop ignores."""
    return [Finding("warning", "config", sentence) for sentence in not_understood(project.answer["label_config"])]


def check_weights_asked(settings: Settings, project: Project) -> list[Finding]:
    """A warning for each control whose `model_path` names weights that are not used."""
    problems = (model_path_problem(control, settings.base_weights) for control in project.controls)
    return [Finding("warning", "config", problem) for problem in problems if problem]


def check_training_toggle(project: Project) -> list[Finding]:
    """A warning if Label Studio asks for a training whenever an annotation is submitted.

    That is its toggle "Start model training on annotation submission", `min_annotations_to_start_training` of its
    project; it then asks after each so many annotations of the project, as the Start Training button does.
    """
    if not project.answer.get("start_training_on_annotation_update"):
        return []
    message = (
        'Label Studio\'s "Start model training on annotation submission" is on: every annotation asks for a training, '
        "as the Start Training button does, whatever LABELLOOP_MIN_ANNOTATIONS and LABELLOOP_CHANGED_SHARE say"
    )
    return [Finding("warning", "training", message, "turn it off under Settings → Model: labelloop trains by itself")]


def check_object_store(store: ObjectStore) -> Finding:
    """Check the store, above all its conditional writes. Writes some test objects and removes them."""
    try:
        check_store(store)
    except StoreError as error:
        return Finding("problem", "store", f"store {store.url}: {error}", "set LABELLOOP_STORE to a store that works")
    return Finding("ok", "store", f"store {store.url} works, and honours conditional writes")


def check_same_store(store: ObjectStore, project: Project) -> Finding:
    """Check that the functions which Label Studio calls use the same store as this command."""
    if read_project(store, project.uid) is not None:
        return Finding("ok", "same_store", f"the functions use the same store ({store.url})")
    return Finding(
        "problem",
        "same_store",
        f"Label Studio's /setup of project {project.uid} left nothing in the store {store.url}",
        "give the functions and this command the same LABELLOOP_STORE",
    )


def check_launcher(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Check that training jobs can be launched, with this command's own credentials; launches nothing.

    Without a finding for local jobs if train_trigger runs on another machine.
    """
    there = urlsplit(settings.train_trigger_url or "").hostname
    if settings.launcher == "local:" and there not in (None, *LOCAL):
        return []
    try:
        return [Finding("ok", "launcher", open_launcher(settings, environ).check())]
    except (LaunchError, SettingsError) as error:
        return [Finding("problem", "launcher", str(error))]


def check_functions(settings: Settings, *, inbound: bool = True) -> list[Finding]:
    """Check that the functions answer here and take our credentials, which Label Studio is given.

    `inbound`: Label Studio calls them; else predict is not needed, and train_trigger may sleep.
    """
    urls = {"predict": settings.predict_url} if inbound else {}
    urls |= {"train_trigger": settings.train_trigger_url}
    return [_check_function(settings, name, f"{name.upper()}_URL", url, inbound) for name, url in urls.items()]


def _check_function(settings: Settings, name: str, variable: str, url: str | None, inbound: bool) -> Finding:
    if url is None:
        return Finding(
            "problem",
            name,
            f"{variable} is not set: where is functions/{name}?",
            "run `labelloop up`, or set its address",
        )
    asked = ""
    started = time.monotonic()
    try:
        status, asleep = _wake(f"{url}/health", settings)
        took = time.monotonic() - started
        if status == requests.codes.ok:
            asked = "LABELLOOP_BASIC_AUTH_USER and LABELLOOP_BASIC_AUTH_PASSWORD"
            status = call("GET", f"{url}/versions", settings, "basic", timeout=_TIMEOUT).status_code
        if status == requests.codes.ok and (inbound or settings.webhook_secret is not None):  # as a webhook is sent
            asked = "LABELLOOP_WEBHOOK_SECRET"
            status = call("GET", f"{url}/metrics", settings, "secret", timeout=_TIMEOUT).status_code
    except requests.RequestException as error:
        return Finding(
            "problem",
            name,
            f"functions/{name} is not reachable at {variable}={url} ({type(error).__name__})",
            "start it (`labelloop up` starts both on this machine) or set its address",
        )
    if status == requests.codes.unauthorized and asked:
        return Finding(
            "problem",
            name,
            f"functions/{name} at {url} refuses our credentials",
            f"set {asked} as the function has them",
        )
    if status != requests.codes.ok:
        return Finding("problem", name, f"functions/{name} at {url} answered {status}", "its log says why")
    if asleep and inbound:
        return Finding(
            "warning",
            name,
            f"functions/{name} at {url} takes our credentials, but slept and took {took:.0f} s to answer; Label Studio "
            "shows a backend as disconnected after one",
            f"`labelloop connect --backend-url {settings.train_trigger_url}` makes train_trigger the backend, which "
            "answers while predict sleeps; keep one instance of train_trigger awake",
        )
    return Finding("ok", name, f"functions/{name} answers at {url} and takes our credentials")


def _wake(url: str, settings: Settings) -> tuple[int, bool]:
    """The status of a function's /health, and whether it was asleep. Raises requests.RequestException."""
    tries = Retrying(
        retry=retry_if_result(ASLEEP.__contains__) | retry_if_exception_type(requests.ReadTimeout),
        wait=wait_random_exponential(multiplier=0.5, max=3),
        stop=stop_before_delay(_WAKING),
        retry_error_callback=lambda last: last.outcome.result() if last.outcome else None,
    )
    status: int = tries(lambda: call("GET", url, settings, "none", timeout=_TIMEOUT).status_code)
    return status, tries.statistics["attempt_number"] > 1


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
