"""A project as the store knows it, its labeling config read."""

from typing import NamedTuple

from shared.errors import LabelConfigError
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.config_review import not_understood
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.state.projects import Connection, Project, read_project


class Known(NamedTuple):
    """A project as the store knows it."""

    title: str = ""
    controls: tuple[Control, ...] = ()
    not_understood: tuple[str, ...] = ()  # a sentence for each part of its labeling config
    connection: Connection = "inbound"
    project: Project | None = None  # its record


def read_known(store: ObjectStore, uid: str) -> Known:
    """All empty before the project is connected."""
    project = read_project(store, uid)
    if project is None:
        return Known()
    try:
        controls, unclear = parse_label_config(project.label_config), not_understood(project.label_config)
    except LabelConfigError as error:
        controls, unclear = (), (str(error),)
    return Known(project.title, controls, unclear, project.connection, project)
