"""`labelloop connect`: checks everything, then connects a project of Label Studio to labelloop, or changes nothing."""

from collections.abc import Callable

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import (
    Project,
    check_config,
    check_functions,
    check_label_studio,
    check_object_store,
    check_project,
    check_same_store,
    check_training_toggle,
    check_weights_asked,
)
from infra.cli.connected import remember
from infra.cli.findings import problems
from infra.cli.outbound import check_push, connect_outbound
from infra.cli.real_prediction import check_prediction
from infra.cli.sampling import settle_order
from infra.cli.smart_tools import check_smart, offer_click_tools, outbound_smart
from infra.cli.wiring import (
    another_labelloop,
    backend_state,
    choose_addresses,
    first_backend,
    pushes,
    read_wiring,
    shown_predictions,
)
from infra.cli.wiring_changes import WiringChanges
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.projects import read_project

Tell = Callable[[Finding], None]


def connect(
    label_studio: LabelStudio,
    settings: Settings,
    project: int | str,
    *,
    store: ObjectStore,
    backend_url: str | None = None,
    webhook_url: str | None = None,
    inbound: bool = True,
    agrees: Callable[[str], bool] | None = None,
    tell: Tell = lambda _: None,
) -> list[Finding]:
    """Connect a project (id or uid) to labelloop; answers everything that was found and changed.

    `agrees`: asks a person whether the labeling config shall get a tool for clicks; None: it is not offered.
    `inbound` False: Label Studio gets no address to call; predictions are written into it, and the sweep asks it.
    `tell` is called with each finding at once. If a check finds a problem, nothing is changed; if Label Studio refuses
    a change, those before it are undone. A second call changes nothing. Raises SettingsError, LabelStudioError.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> Finding:
        findings.append(finding)
        tell(finding)
        return finding

    if note(check_label_studio(label_studio)).level == "problem":
        return findings
    finding, found = check_project(label_studio, str(project))
    note(finding)
    if found is not None:
        for warning in (
            *check_config(found),
            *check_weights_asked(settings, found),
            *check_training_toggle(found),
        ):
            note(warning)
    note(check_object_store(store))
    for finding in check_functions(settings) if inbound else (check_push(settings),):
        note(finding)
    if found is None or problems(findings):
        return findings
    if inbound:
        wiring = read_wiring(label_studio, found.id)
        addresses = choose_addresses(settings, wiring, backend_url, webhook_url)
        if stranger := another_labelloop(settings, store, found, addresses, given=backend_url is not None):
            note(stranger)
            return findings
        WiringChanges(label_studio, settings, found, wiring, addresses, note).make()
        if not problems(findings):
            _check_result(label_studio, settings, store, found, note)
        if not problems(findings):
            offered = () if agrees is None else (offer_click_tools(label_studio, store, found, agrees),)
            for finding in offered or check_smart(found):
                note(finding)
    else:
        for finding in outbound_smart(found):
            note(finding)
        connect_outbound(label_studio, settings, store, found, note)
    if not problems(findings):
        for finding in check_prediction(label_studio, settings, found, failed="warning"):
            note(finding)
    if not problems(findings) and (order := settle_order(label_studio, settings, store, found)):
        note(order)
    return findings


def connect_at_start(
    label_studio: LabelStudio, settings: Settings, project: str, *, store: ObjectStore, tell: Tell
) -> list[Finding]:
    """As `connect` without inbound calls, for `labelloop up --project`. A project that Label Studio calls stays so."""
    if (asked := check_label_studio(label_studio)).level == "problem":
        tell(asked)
        return [asked]
    _, found = check_project(label_studio, project)
    known = read_project(store, found.uid) if found else None
    if found is None or known is None or known.connection != "inbound":
        return connect(label_studio, settings, project, store=store, inbound=False, tell=tell)
    message = f"project {found.id} {found.title!r} is connected: Label Studio calls labelloop"
    finding = Finding("ok", "connection", message)
    tell(finding)
    return [finding]


def _check_result(
    label_studio: LabelStudio,
    settings: Settings,
    store: ObjectStore,
    project: Project,
    note: Callable[[Finding], Finding],
) -> None:
    """Check the connection by what Label Studio says of it, and store the project's title."""
    wiring = read_wiring(label_studio, project.id)
    assert wiring.backend is not None
    note(backend_state(settings, wiring.backend))
    if (first := first_backend(wiring)) is not None:
        note(first)
    _, now = check_project(label_studio, project.uid)
    if now is not None:
        note(shown_predictions(now))
    same = note(check_same_store(store, project))
    if same.level == "ok":
        _, push_changed = remember(store, settings, project, "inbound")
        if push_changed:
            note(_ahead(pushes(settings)))


def _ahead(push: bool) -> Finding:
    if push:
        message = (
            "a job writes predictions of all tasks without annotations into Label Studio, now and for each new version "
            "and task, and then shows annotators exactly that version (the project's model_version); "
            "LABELLOOP_PUSH=off and `labelloop connect` end that"
        )
    else:
        message = "no more predictions are written ahead: Label Studio asks for them while people label"
    return Finding("changed", "push", message)
