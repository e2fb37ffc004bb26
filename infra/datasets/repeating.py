"""Trains a version again: from what it learnt from, its settings and its initial weights. Publishes nothing."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from infra.datasets.rebuilding import Rebuilt, missing_sentence, rebuild, settings_of
from jobs.train.base_weights import stored_base_weights
from jobs.train.checkpoints.spool import Epoch, Spool
from jobs.train.checkpoints.store import Checkpoint
from jobs.train.checkpoints.uploader import CheckpointUploader
from jobs.train.data.dataset import check_both_sides
from jobs.train.data.fetching import Fetching
from jobs.train.data.learnt import Learnt, read_learnt
from jobs.train.data.samples import PLAIN, Views
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.judging import Judge
from jobs.train.preset import preset, training_data
from jobs.train.training import InitialWeights, Trainer, TrainingSettings
from shared.errors import ImageError, LabelloopError
from shared.evolve import evolve
from shared.geometry.tiles import Tiling
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.registry import Registry
from shared.state.versions import DATASET, WEIGHTS, Manifest
from shared.yolo.base_weights import base_weights_for

_VERSION = re.compile(r"v(\d+)")


@dataclass(frozen=True, slots=True)
class Repeated:
    """What came of training a version again."""

    metrics: Mapping[str, float]  # as the version's own
    epochs: int  # that were finished
    unlike: tuple[str, ...]  # sentences about what was not as then

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return {"metrics": dict(self.metrics), "epochs": self.epochs, "unlike": list(self.unlike)}


class _Nowhere:
    """Checkpoints are dropped: nobody goes on with a training that was only for comparison."""

    def keep(self, epoch: Epoch, path: Path) -> Checkpoint | None:  # noqa: ARG002  (of Keeper)
        return None


def repeat(
    store: ObjectStore,
    uid: str,
    manifest: Manifest,
    fetching: Fetching,
    trainer: Trainer,
    settings: Settings,
    folder: Path,
    *,
    tell: Callable[[str], None],
) -> Repeated:
    """Train as the run of a version did, measure on its val set. `folder`: scratch. `tell` hears of the progress.

    Raises NotKnown if what it learnt from was not kept, LabelloopError if the weights that it began with are not in the
    store any more or most images are gone, and what the trainer raises.
    """
    registry = Registry(store, uid)
    learnt = read_learnt(registry, manifest, folder / DATASET)
    control = learnt.control
    trained_with = TrainingSettings.of(settings_of(manifest), settings)
    start = _initial_weights(store, registry, manifest, learnt, trained_with, trainer, folder)
    views = _views(manifest)
    rebuilt = rebuild(learnt, manifest, fetching, settings, folder, views=views, tell=tell)
    counts = rebuilt.dataset.counts
    check_both_sides(control, counts)
    chosen = preset(trained_with, counts.train_images, control.yolo_task)
    again = chosen.applied(trained_with)
    if isinstance(batch := manifest.lineage.get("batch"), int):
        again = evolve(again, batch=batch)  # also where the memory of that machine chose it
    spool = Spool(folder / "spool", folder / "abort", math.inf)
    with CheckpointUploader(spool, _Nowhere(), lambda epoch, _: tell(f"epoch {epoch.number} of {epoch.epochs}")):
        trained = trainer.fit(training_data(rebuilt.dataset.data, chosen.passes), start.weights, again, spool, None)
    weights = trained.weights
    if manifest.lineage.get("mean_with"):
        (folder / "mean").mkdir()
        weights = trainer.mean(start.weights, weights, folder / "mean") or weights
    tell("measuring")
    (folder / "graph").mkdir()
    graph = trainer.export(weights, folder / "graph", views.tiling)
    judge = Judge(
        trainer=trainer,
        control=control,
        settings=trained_with,
        dataset=rebuilt.dataset,
        videos=lambda: _val_videos(learnt, rebuilt),
        max_pixels=settings.image_max_pixels,
    )
    judged = judge.judge(graph, None, "", served=None, weights=weights)
    return Repeated(judged.metrics, trained.epochs, tuple(_unlike(manifest, rebuilt, trained.epochs)))


def _initial_weights(
    store: ObjectStore,
    registry: Registry,
    manifest: Manifest,
    learnt: Learnt,
    settings: TrainingSettings,
    trainer: Trainer,
    folder: Path,
) -> InitialWeights:
    """Those with the digest of the lineage: of a version before, or base weights."""
    name, wanted = str(manifest.lineage.get("base")), manifest.lineage.get("base_sha256")
    if match := _VERSION.fullmatch(name):
        earlier = registry.find_manifest(manifest.control, int(match[1]))
        if earlier is None:
            raise LabelloopError(
                f"v{manifest.version} began with the weights of {name}, which is not in the store any more "
                "(LABELLOOP_KEEP_VERSIONS): it cannot be trained again as it was"
            )
        path = folder / "start.pt"
        registry.download_file(manifest.control, earlier.file(WEIGHTS), path)
        start = InitialWeights(path, name, earlier.file(WEIGHTS).sha256)
    else:
        weights = base_weights_for(learnt.control, settings.base_weights)
        start = trainer.base(stored_base_weights(store, trainer, weights, folder / "base"), manifest.yolo_task)
    if start.sha256 != wanted:
        raise LabelloopError(
            f"v{manifest.version} began with {name} of SHA-256 {wanted}, the store has {start.name} of {start.sha256}: "
            "it cannot be trained again as it was"
        )
    return start


def _views(manifest: Manifest) -> Views:
    """As then, whatever would be decided now."""
    tiling = manifest.tiling
    return Views(Tiling(tiling.side, tiling.overlap), ("val",)) if tiling else PLAIN


def _val_videos(learnt: Learnt, rebuilt: Rebuilt) -> Iterator[tuple[SnapshotTask, Path]]:
    control = learnt.control
    for task in learnt.tasks():
        if task.split == "val" and not task.left_out and task.id not in rebuilt.missing:
            try:
                yield task, rebuilt.images.file(task.id, control.value, task.file_of(control))
            except ImageError:  # it has none, as then
                continue


def _unlike(manifest: Manifest, rebuilt: Rebuilt, epochs: int) -> Iterator[str]:
    lineage = manifest.lineage
    if rebuilt.missing:
        yield missing_sentence(rebuilt)
    if rebuilt.differs:
        yield rebuilt.differs
    packages = lineage.get("packages")
    for name, then in packages.items() if isinstance(packages, dict) else ():
        if (now := package_version(name)) != then:
            yield f"{name} {then} then, {now} now"
    if (then := lineage.get("epochs")) != epochs:
        yield f"{then} epochs then, {epochs} now"
    if isinstance(attempt := lineage.get("attempt"), int) and attempt > 1:
        yield f"then it took {attempt} attempts; each went on from a checkpoint, with other random numbers"
