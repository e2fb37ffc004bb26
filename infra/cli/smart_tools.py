"""Smart tools in Label Studio: what `connect` and `doctor` say of them, and the labeling config's tool for clicks."""

import difflib
from collections.abc import Callable

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import Project
from infra.cli.click_tools import with_click_tools, without_click_tools, without_tools
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.smart import draws
from shared.objectstore import ObjectStore
from shared.state.projects import write_project

_CLICKS = "a click (Alt and a click: not this one)"


def check_smart(project: Project) -> list[Finding]:
    """What smart tools do in a project that Label Studio calls labelloop for; nothing where none can."""
    able = [control for control in project.controls if draws(control)]
    if not able:
        return []
    without = without_tools(project.answer["label_config"], able)
    if not without:
        message = f"smart tools draw by {_CLICKS}, and by a rough box: Auto-Annotation, below the picture"
        return [Finding("ok", "smart", message)]
    remedy = f"`labelloop connect --project {project.id} --smart` adds one, once you have seen and agreed to it"
    named = ", ".join(repr(control.name) for control in without)
    return [Finding("ok", "smart", f"the labeling config has no tool to draw {named} by a click", remedy)]


def outbound_smart(project: Project) -> list[Finding]:
    """What is said where Label Studio has no address to ask."""
    if not any(map(draws, project.controls)):
        return []
    message = "there are no smart tools without inbound calls: Label Studio has no address to ask what a click means"
    return [Finding("ok", "smart", message)]


def offer_click_tools(
    label_studio: LabelStudio, store: ObjectStore, project: Project, agrees: Callable[[str], bool]
) -> Finding:
    """Add a tool for clicks to the labeling config, if a person `agrees` to the change, whose lines are shown to them.

    Raises LabelStudioError if Label Studio refuses it, StoreError.
    """
    config: str = project.answer["label_config"]
    able = [control for control in project.controls if draws(control)]
    if not able:
        message = f"project {project.id} has no control for smart tools, which draw boxes, polygons, masks and ellipses"
        return Finding("warning", "smart", message)
    without = without_tools(config, able)
    if not without:
        return Finding("ok", "smart", "the labeling config has a tool for clicks already")
    wanted = with_click_tools(config, without)
    if not agrees(_difference(config, wanted)):
        return Finding("ok", "smart", "the labeling config is as it was: no tool for clicks was added")
    label_studio.request_json("PATCH", f"/api/projects/{project.id}/", {"label_config": wanted})
    write_project(store, project.uid, label_config=wanted)
    named = ", ".join(repr(control.name) for control in without)
    return Finding("changed", "smart", f"the labeling config has a tool to draw {named} by {_CLICKS}")


def remove_click_tools(label_studio: LabelStudio, project: Project) -> Finding | None:
    """Take `connect --smart`'s tools out of the labeling config again; None if there are none."""
    config: str = project.answer["label_config"]
    wanted = without_click_tools(config, project.controls)
    if wanted == config:
        return None
    try:
        label_studio.request_json("PATCH", f"/api/projects/{project.id}/", {"label_config": wanted})
    except LabelStudioError as error:
        message = f"Label Studio keeps the tool for clicks in the labeling config: {error}"
        return Finding("warning", "smart", message, "delete it there: Settings → Labeling Interface")
    return Finding("changed", "smart", "removed the tool for clicks from the labeling config")


def _difference(before: str, after: str) -> str:
    """The lines that change, with those around them."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    return "\n".join(list(lines)[2:])
