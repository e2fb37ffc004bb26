"""What the store keeps of a connected project, beside what Label Studio's /setup sends."""

from infra.cli.checks import Project
from infra.cli.wiring import is_labelloops, pushes
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import jobs_fields
from shared.state.jobs import Jobs
from shared.state.projects import Connection, read_project, write_project


def remember(store: ObjectStore, settings: Settings, project: Project, connection: Connection) -> tuple[bool, bool]:
    """Keep a project's title, how it is connected, whether predictions are written ahead, and what was shown before.

    `project`: as it was before. Answers whether the connection and whether the writing ahead has changed. Raises
    StoreError.
    """
    known, push = read_project(store, project.uid), pushes(settings)
    pushed = known is not None and known.push
    if push and not pushed:  # first: the next call does it again if this one ends here
        Jobs(store, project.uid, prelabelling=True).update(jobs_fields.go_on)
        Jobs(store, project.uid).update(jobs_fields.look_again)
    shown = project.answer.get("model_version") or ""
    write_project(
        store,
        project.uid,
        label_config=project.answer["label_config"],
        title=project.title,
        push=push,
        connection=connection,
        shown_before=None if is_labelloops(shown, project) else shown,
        hidden_before=None if project.answer.get("show_collab_predictions", True) else True,
    )
    return known is None or known.connection != connection, push != pushed
