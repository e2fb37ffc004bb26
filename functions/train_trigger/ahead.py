"""Whether predictions are to be written ahead: for tasks without annotations, of what is served now."""

from collections.abc import Sequence
from datetime import timedelta

from functions.train_trigger.asking import Asking
from functions.train_trigger.decide import Launch, Nothing, Wait, decide_to_prelabel
from shared.errors import LabelConfigError
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.registry import Registry
from shared.state.servable import conditions, servable, served_version


class Ahead:
    """Decides for one project at a time. `jobs` and `record` are those of prelabelling."""

    def __init__(self, store: ObjectStore, asking: Asking, settings: Settings) -> None:
        self._store = store
        self._asking = asking
        self._settings = settings

    def never(self, record: JobsRecord) -> str:
        """Why nothing is written ahead, whatever is served; empty if something may be."""
        if self._settings.push == "off":
            return "LABELLOOP_PUSH=off, so Label Studio asks for them while people label"
        if self._settings.dummy:
            return "LABELLOOP_DUMMY answers fixed ones, without a model"
        return "Label Studio has this project no more" if record.closed else ""

    def due(
        self, jobs: Jobs, record: JobsRecord, label_config: str, settings: Settings, *, asked: bool
    ) -> Nothing | Wait | Launch:
        """Whether tasks without annotations lack predictions of what is served now. `settings`: the project's.

        `asked`: a person wants it now, so tasks that trickle in are not waited for. Raises LabelStudioError,
        ProjectGone, StoreError.
        """
        try:
            controls = parse_label_config(label_config)
        except LabelConfigError as error:
            return Nothing(str(error))
        if not controls:
            return Nothing("the labeling config has no control that labelloop serves")
        decision = self._of(controls, jobs, record, settings, asked=asked)
        if not isinstance(decision, Launch):
            return decision
        ready = servable(self._store, jobs.uid, controls, settings.base_weights)
        if len(ready) == len(controls):
            return decision
        making = Jobs(self._store, jobs.uid).read().training
        if not ready or (making and making.kind == "base"):
            return Nothing("the models must be prepared by a run first")
        return self._of(ready, jobs, record, settings, asked=asked)  # once the rest is made, another version is due

    def _of(
        self, controls: Sequence[Control], jobs: Jobs, record: JobsRecord, settings: Settings, *, asked: bool
    ) -> Nothing | Wait | Launch:
        """Whether tasks without annotations lack predictions of these controls. `under`: "" if a person asks."""
        version = served_version(Registry(self._store, jobs.uid), controls, settings.base_weights)
        under, done = conditions(controls, settings), record.prelabelled
        kept = done and done.model_version == version and not done.outdated(version, under)
        seen = done.through if done and kept else 0
        lacking = self._asking.unannotated_tasks(jobs.uid, seen)
        pause = timedelta(seconds=settings.sweep_interval)
        return decide_to_prelabel(record, version, lacking, self._store.now(), pause=pause, under=under, asked=asked)
