"""What Label Studio says of projects: whether it has them, what is annotated, their labeling config of now."""

import logging
from datetime import datetime
from typing import Protocol

from functions.train_trigger.reconciled import Reconciled
from shared.errors import LabelConfigError, LabelStudioError, ProjectGone
from shared.labelstudio.api import ProjectState
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.state import jobs_fields
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import Project, read_project, write_project

logger = logging.getLogger(__name__)


class LabelStudio(Protocol):
    """What the trigger asks Label Studio; projects by their ids there."""

    def project(self, project_id: int) -> ProjectState:
        """The project's counters now. Raises LabelStudioError, ProjectGone."""

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        """Annotated tasks updated after `since`. Raises LabelStudioError, ProjectGone."""

    def unannotated_tasks(self, project_id: int, above: int) -> int:
        """Tasks without annotations whose id is above `above`. Raises LabelStudioError, ProjectGone."""


class Asking:
    """Label Studio's projects, by the uid under which the store holds them. Every method may raise StoreError."""

    def __init__(self, store: ObjectStore, label_studio: LabelStudio) -> None:
        self._store = store
        self._label_studio = label_studio
        self._away = False  # it failed when it was asked last

    def state(self, uid: str) -> ProjectState:
        """The state of exactly this project. Raises LabelStudioError, ProjectGone: also if its id belongs to
        another project here.
        """
        try:
            state = self._label_studio.project(project_id(uid))
        except ProjectGone:
            raise
        except LabelStudioError:
            self._away = True
            raise
        if self._away:
            self._away = False
            logger.info("Label Studio answers again", extra={"event": "label_studio_back"})
        if state.counters.uid != uid:
            raise ProjectGone(
                f"project {project_id(uid)} of this Label Studio is {state.counters.uid}, not {uid}: "
                "the store holds projects of another installation, or LABEL_STUDIO_URL names another one"
            )
        return state

    def changed_tasks(self, uid: str, since: datetime) -> int:
        """Annotated tasks updated after `since`. Raises LabelStudioError, ProjectGone."""
        return self._label_studio.changed_tasks(project_id(uid), since)

    def unannotated_tasks(self, uid: str, above: int) -> int:
        """Tasks without annotations whose id is above `above`. Raises LabelStudioError, ProjectGone."""
        return self._label_studio.unannotated_tasks(project_id(uid), above)

    def follow_config(self, uid: str, project: Project | None, state: ProjectState) -> Project | None:
        """The project with its labeling config of now. Where predictions are written ahead, no /setup may tell it."""
        config = state.counters.label_config
        if project is None or not config or config == project.label_config:
            return project
        try:
            parse_label_config(config)
        except LabelConfigError:  # /setup refuses it, too; status and doctor say why
            return project
        return write_project(self._store, uid, label_config=config)

    def reopen(self, jobs: Jobs) -> JobsRecord:
        """Open a closed project again if Label Studio has it; answers the record."""
        try:
            self.state(jobs.uid)
        except ProjectGone:
            return jobs.read()
        return jobs.update(jobs_fields.reopen)

    def close(self, jobs: Jobs, error: ProjectGone) -> Reconciled:
        """Label Studio has the project no more, as `error` says: nothing is started for it until it is back."""
        if read_project(self._store, jobs.uid) or jobs.read().fence:  # else only an event named it: nothing to close
            jobs.update(jobs_fields.close)
        logger.warning(str(error), extra={"event": "project_closed", "project": jobs.uid})
        return Reconciled("closed", str(error))


def not_trainable(label_config: str) -> str:
    """Why a run could learn nothing under this labeling config, whatever is annotated; empty if it could."""
    try:
        controls = parse_label_config(label_config) if label_config else None
    except LabelConfigError as error:
        return str(error)
    if controls == ():
        return "the labeling config has no control that labelloop trains: `labelloop doctor` says why"
    return ""
