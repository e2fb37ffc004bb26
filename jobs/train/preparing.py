"""A run of kind `base`: makes what a project's controls lack to be served. It needs no annotations."""

from collections.abc import Sequence
from pathlib import Path

from jobs.train.base_weights import ensure_base_weights
from jobs.train.training import Trainer
from shared.errors import ClaimLost, LabelloopError, ModelError, NotFound, SettingsError, StoreError
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state.heartbeat import Heartbeat
from shared.state.jobs_record import Claim
from shared.state.registry import Registry
from shared.state.servable import Lack
from shared.state.versions import GRAPH, WEIGHTS, Manifest


class Preparing:
    """What one attempt of such a run works with."""

    def __init__(
        self, store: ObjectStore, uid: str, trainer: Trainer, claim: Claim, heartbeat: Heartbeat, folder: Path
    ) -> None:
        """`store`: a PatientStore. `folder`: scratch."""
        self._store = store
        self._registry = Registry(store, uid)
        self._trainer = trainer
        self._claim = claim
        self._heartbeat = heartbeat
        self._folder = folder

    def make(self, lacks: Sequence[Lack]) -> str:
        """Make each; answers a sentence. What cannot be made keeps nothing else from being made.

        Raises LabelloopError in the end where another attempt may succeed, ModelError for the rest; SettingsError,
        StoreError and ClaimLost at once.
        """
        made, failures, not_now = list[str](), list[str](), list[LabelloopError]()
        for lack in lacks:
            try:
                if lack.version:
                    self._convert(lack.control, lack.version)
                else:
                    ensure_base_weights(self._store, self._trainer, lack.weights)
            except (ModelError, NotFound) as error:
                failures.append(f"{lack} could not be made: {error}")
            except (ClaimLost, SettingsError, StoreError):
                raise
            except LabelloopError as error:  # a download
                not_now.append(error)
            else:
                made.append(str(lack))
        if not_now:
            raise not_now[0]
        if failures:
            raise ModelError("; ".join(failures))
        return f"{' and '.join(made) or 'nothing'} had to be made"

    def _convert(self, control: str, manifest: Manifest) -> None:
        """Publish and serve a version again, with its graph: what is published never changes.

        If its file is bad it is rejected, and the next run converts the good version before it.
        """
        registry, claim = self._registry, self._claim
        weights = self._folder / f"v{manifest.version}.pt"
        try:
            registry.download_file(control, manifest.file(WEIGHTS), weights)
            self._trainer.check(weights, manifest.yolo_task)
        except ModelError as error:
            registry.reject(control, manifest.version, str(error))
            raise
        graph = registry.upload_file(control, GRAPH, self._trainer.prepare(str(weights)).graph)
        pointer = registry.pointer(control)
        self._heartbeat.confirm()
        converted = registry.publish(
            control,
            lambda number: evolve(
                manifest,
                version=number,
                files=(*manifest.files, graph),
                lineage={**manifest.lineage, "converted_from": manifest.version},
                run_id=claim.run_id,
                fence=claim.fence,
                created_at=self._store.now(),
            ),
        )
        try:
            registry.promote(
                control,
                converted.version,
                fence=claim.fence,
                run_id=claim.run_id,
                expected=pointer.version if pointer else None,
            )
        except ClaimLost:
            self._heartbeat.confirm()  # raises if the claim is lost; else somebody rolled back, which stands
