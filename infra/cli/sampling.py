"""In which order Label Studio hands out tasks: what `connect` says of it, and what is put back."""

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import Project
from shared.labelstudio.api import BY_SCORE, LabelStudio
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.projects import read_project, write_project

_FIRST = {"useful": "those where most is in doubt", "easy": "those where least is in doubt"}


def settle_order(label_studio: LabelStudio, settings: Settings, store: ObjectStore, project: Project) -> Finding | None:
    """What `connect` says of the order, having put the former one back where LABELLOOP_ORDER asks for none (any more).

    A job sets the order together with the version that it shows: before there is one, Label Studio would hand out tasks
    at random. Raises LabelStudioError, StoreError.
    """
    if not settings.orders:
        back = put_order_back(label_studio, store, project)
        if settings.order != "off" and settings.control_group:
            message = (
                "LABELLOOP_ORDER does nothing beside LABELLOOP_CONTROL_GROUP: Label Studio would hand out tasks "
                "without predictions last"
            )
            return Finding("warning", "order", message, "set one of them")
        return back
    return Finding(
        "ok",
        "order",
        f"of tasks with predictions, Label Studio hands out {_FIRST[settings.order]} first, from the next version that "
        f"is written ahead on: a job sets the project's sampling to {BY_SCORE!r}; LABELLOOP_ORDER=off and "
        "`labelloop connect` put back what it was",
    )


def put_order_back(label_studio: LabelStudio, store: ObjectStore, project: Project) -> Finding | None:
    """Give the project the order back that it had before a job set its own. Raises LabelStudioError, StoreError."""
    record = read_project(store, project.uid)
    if record is None or not record.sampling_before:
        return None
    before, finding = record.sampling_before, None
    if project.answer.get("sampling") == BY_SCORE:
        label_studio.request_json("PATCH", f"/api/projects/{project.id}/", {"sampling": before})
        finding = Finding("changed", "order", f"tasks are handed out as before: {before!r}")
    write_project(store, project.uid, sampling_before="")
    return finding
