"""The model that a new version is compared with: the served version, an older one that loads, or base weights."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.train.attempt import Attempt
from jobs.train.base_weights import stored_base_weights
from jobs.train.data.dataset import Dataset
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.judging import Judge, Judged, Rival
from jobs.train.training import InitialWeights
from shared.digest import sha256_of
from shared.errors import ImageError, ModelError, NotFound
from shared.labelstudio.controls import Control
from shared.state.versions import WEIGHTS, Manifest
from shared.yolo.base_weights import base_weights_for

logger = logging.getLogger(__name__)

_MAY_HAVE_SEEN_VAL = "was trained before the val set was fixed and may have seen it"


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that a new one is compared with, as far as it could be downloaded."""

    served: int | None  # the version that predict serves; None: base weights
    manifest: Manifest | None  # of that version, or of the newest older one that loads; None: there is none
    weights: Path | None  # verified local file of `manifest`
    graph: Path | None  # another one; None: an older labelloop published none
    missing: str  # which versions could not be compared, and why; empty: all could


def _find_champion(attempt: Attempt, control: Control) -> Champion:
    """Download and verify the served version, or else the newest older one that can be loaded. Raises StoreError.

    A version with a bad file (wrong digest, no model) is rejected for good. One with a missing file is not: the
    store may be in the middle of being copied.
    """
    served, missing = None, list[int]()
    manifest = serving(attempt, control)
    while manifest:
        path = attempt.folder_of(control, "champion") / f"v{manifest.version}.pt"
        try:
            attempt.registry.download_file(control.name, manifest.file(WEIGHTS), path)
            attempt.trainer.check(path, control.yolo_task)
            graph = _graph(attempt, manifest, path)
        except ModelError as error:
            logger.error(str(error), extra={"event": "version_rejected", "version": manifest.version})
            attempt.registry.reject(control.name, manifest.version, str(error))
        except NotFound as error:
            logger.error(str(error), extra={"event": "version_missing", "version": manifest.version})
            served = served or manifest.version
            missing.append(manifest.version)
        else:
            return Champion(served or manifest.version, manifest, path, graph, _missing_sentence(missing))
        manifest = _comparable(attempt.registry.newest_before(control.name, manifest.version), control)
    return Champion(served, None, None, None, _missing_sentence(missing, " and there is no older good version"))


def serving(attempt: Attempt, control: Control) -> Manifest | None:
    """The served version, if it is of the control's yolo task; else None."""
    return _comparable(attempt.registry.serving(control.name), control)


def initial_weights(attempt: Attempt, control: Control) -> InitialWeights:
    """The weights that training starts from: the champion, else the base weights. Raises ModelError."""
    champion = _find_champion(attempt, control)
    if champion.manifest and champion.weights:
        version = champion.manifest.version
        return InitialWeights(champion.weights, f"v{version}", sha256_of(champion.weights), version=version)
    return _base(attempt, control)


def judge_with_champion(
    attempt: Attempt, control: Control, dataset: Dataset, graph: Path, weights: Path | None = None
) -> Judged:
    """Compare a new graph with the champion. `weights`: see `Judge.judge`. Raises ModelError, StoreError."""
    judge = Judge(
        trainer=attempt.trainer,
        control=control,
        settings=attempt.settings,
        dataset=dataset,
        videos=lambda: _val_videos(attempt, control),
        max_pixels=attempt.images.max_pixels,
    )
    champion = _find_champion(attempt, control)
    rival, why_none = _rival_of(attempt, control, champion)
    return judge.judge(graph, rival, why_none, served=champion.served, weights=weights)


def _val_videos(attempt: Attempt, control: Control) -> Iterator[tuple[SnapshotTask, Path]]:
    for task in attempt.snapshot.tasks_for(control):
        if task.split == "val":
            attempt.heartbeat.check()
            try:
                video = attempt.images.file(task.id, control.value, task.file_of(control))
            except ImageError:
                logger.info(f"task {task.id} is left out again", extra={"event": "task_left_out", "task": task.id})
            else:
                yield task, video


def _rival_of(attempt: Attempt, control: Control, champion: Champion) -> tuple[Rival | None, str]:
    """(champion, or base weights of the control's yolo task; None if neither exists, why None). Raises ModelError."""
    missing, manifest = champion.missing, champion.manifest
    if manifest and champion.weights:
        name = f"v{manifest.version}"
        unsure = "" if "border" in manifest.lineage else f"{name} {_MAY_HAVE_SEEN_VAL}"
        caveat = "; ".join(filter(None, (missing, unsure)))
        graph = champion.graph or _exported(attempt, control, champion.weights)
        return Rival(name, manifest.version, graph, manifest.labels, manifest.shown, caveat), ""
    base = _base(attempt, control)
    if not base.own:
        return None, "; ".join(filter(None, (missing, f"there are no base weights for {control.yolo_task}")))
    return Rival(f"base-{Path(base.name).stem}", None, base.weights.with_suffix(".onnx"), (), {}, missing), ""


def _graph(attempt: Attempt, manifest: Manifest, weights: Path) -> Path | None:
    """The graph of a version, downloaded beside its weights; None if there is none. Raises as `download_file`."""
    if manifest.graph is None:
        return None
    path = weights.with_suffix(".onnx")
    attempt.registry.download_file(manifest.control, manifest.graph, path)
    return path


def _exported(attempt: Attempt, control: Control, weights: Path) -> Path:
    return attempt.trainer.export(weights, attempt.folder_of(control, "champion-graph"))


def _base(attempt: Attempt, control: Control) -> InitialWeights:
    weights = base_weights_for(control, attempt.settings.base_weights)
    path = stored_base_weights(attempt.store, attempt.trainer, weights, attempt.folder / "base")
    return attempt.trainer.base(path, control.yolo_task)


def _comparable(manifest: Manifest | None, control: Control) -> Manifest | None:
    """None for a version of another yolo task: the control's tag may have changed."""
    return manifest if manifest and manifest.yolo_task == control.yolo_task else None


def _missing_sentence(missing: list[int], more: str = "") -> str:
    which = " and ".join(f"v{version}" for version in missing)
    return f"v{missing[0]} is served, but the store lacks files of {which}{more}" if missing else ""
