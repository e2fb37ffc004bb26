"""One control of one run: dataset, training, gate, manifest, pointer."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Literal

from jobs.train import dataset as datasets
from jobs.train.attempt import Attempt
from jobs.train.courier import CheckpointUploader
from jobs.train.dataset import Dataset
from jobs.train.frozen import SnapshotTask
from jobs.train.judging import Judge, Judged, Rival
from jobs.train.report import Report
from jobs.train.training import InitialWeights, Trained
from shared.base_weights import base_weights_for
from shared.errors import ClaimLost, ImageError, ModelError, NotFound, PreconditionFailed
from shared.labelstudio.config import Control
from shared.labelstudio.regions.labelled import is_used
from shared.registry import WEIGHTS, Gate, Manifest, sha256_of

logger = logging.getLogger(__name__)

_PACKAGES = ("labelloop", "torch", "ultralytics")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a control's run ended."""

    outcome: Literal["promoted", "rejected"]
    message: str


@dataclass(frozen=True, slots=True)
class Champion:
    """What a new version has to beat, as it could be had."""

    served: int | None  # the version that predict serves; None: base weights
    manifest: Manifest | None  # that one, or the newest good one behind it; None: there is none
    weights: Path | None  # its verified file
    missing: str  # which version is not compared, and why; empty: none


def learn(attempt: Attempt, control: Control, *, controls_left: int) -> Verdict | None:
    """Make, publish and promote the next version of a control; None if the project holds no label of it.

    What an earlier attempt published is only promoted. `controls_left` share the time that is left. Raises ClaimLost,
    ModelError, NothingToLearn, StoreError and whatever the training raises.
    """
    if not _is_used(attempt, control):  # or every image would be fetched to find that out, and its lack end the run
        return None
    steps = _Steps(attempt, control)
    manifest = attempt.heartbeat.patiently(attempt.registry.published_by, control.name, attempt.run_id)
    if manifest is None:
        start = steps.start()  # before an image is fetched: what is wrong with it ends the run
        dataset = steps.dataset()
        if dataset is None:
            return None
        datasets.check_both_sides(control, dataset.counts)
        manifest = steps.train_and_publish(dataset, start, controls_left)
    if not manifest.gate.passed:
        verdict = Verdict("rejected", f"v{manifest.version} of {control.name!r} is not served: {manifest.gate.reason}")
    else:
        verdict = steps.promote(manifest)
    remarks = manifest.lineage.get("remarks")
    return replace(verdict, message=f"{verdict.message} ({remarks})") if remarks else verdict


def _is_used(attempt: Attempt, control: Control) -> bool:
    return any(is_used(task.regions, control) for task in attempt.snapshot.tasks())


class _Steps:
    def __init__(self, attempt: Attempt, control: Control) -> None:
        self._attempt = attempt
        self._control = control
        self._dataset: Dataset | None = None

    def dataset(self) -> Dataset | None:
        attempt, control = self._attempt, self._control
        if self._dataset is None:
            attempt.progress.phase("dataset", control=control.name)
            self._dataset = datasets.build(
                attempt.snapshot.tasks_for(control),
                control,
                attempt.images,
                attempt.folder_of(control, "dataset"),
                concurrency=attempt.fetch_concurrency,
                check=attempt.check_of(control),
                last=attempt.last,
            )
        return self._dataset

    def start(self) -> InitialWeights:
        """Where the training begins: the champion, else the base weights."""
        champion = self._champion()
        if champion.manifest and champion.weights:
            return InitialWeights(champion.weights, f"v{champion.manifest.version}", sha256_of(champion.weights))
        return self._base()

    def _base(self) -> InitialWeights:
        name = base_weights_for(self._control, self._attempt.settings.base_weights)
        return self._attempt.trainer.base(name, self._control.yolo_task)

    def train_and_publish(self, dataset: Dataset, start: InitialWeights, controls_left: int) -> Manifest:
        attempt, control = self._attempt, self._control
        fitted = self._fit(dataset, start, controls_left)
        attempt.progress.phase("gate", control=control.name)
        judged = self._judge(dataset, fitted.weights)
        gate, metrics = judged.gate, judged.metrics
        attempt.progress.phase("publish", control=control.name, message=gate.reason)
        report = Report(
            control=control.name,
            project_uid=attempt.jobs.uid,
            run_id=attempt.run_id,
            created_at=datetime.now(UTC),
            base=start.name,
            yolo_task=control.yolo_task,
            epochs=fitted.epochs,
            gate=gate,
            metrics=metrics,
            champion=judged.champion,
            dataset=dataset,
            skipped=attempt.snapshot.header.left_out,
            shown=judged.shown,
            notes=judged.notes + fitted.notes,
        )
        page = attempt.folder_of(control, "report") / "report.html"
        page.write_text(report.html(), encoding="utf-8")
        files = tuple(
            attempt.heartbeat.patiently(attempt.registry.upload_file, control.name, name, path)
            for name, path in ((WEIGHTS, fitted.weights), ("report.html", page))
        )

        def build(number: int) -> Manifest:
            return Manifest(
                version=number,
                control=control.name,
                yolo_task=control.yolo_task,
                labels=dataset.labels,
                files=files,
                metrics=metrics,
                gate=gate,
                shown=judged.shown,
                lineage=self._lineage(dataset, fitted, start),
                run_id=attempt.run_id,
                fence=attempt.claim.fence,
                created_at=attempt.store.now(),
            )

        attempt.heartbeat.confirm()
        return attempt.heartbeat.patiently(attempt.registry.publish, control.name, build)

    def promote(self, manifest: Manifest) -> Verdict:
        """Move the pointer; whenever it names another version than the gate saw, judge again against that one."""
        attempt, control, registry = self._attempt, self._control, self._attempt.registry
        attempt.progress.phase("promote", control=control.name, message=manifest.gate.reason)
        gate, patiently = manifest.gate, attempt.heartbeat.patiently
        while True:
            attempt.heartbeat.confirm()
            pointer = patiently(registry.pointer, control.name)
            if pointer and (pointer.run_id, pointer.version) == (attempt.run_id, manifest.version):
                break
            served = self._serving()
            if (served.version if served else None) != gate.champion_version:
                gate = self._judge_again(manifest)
                if not gate.passed:
                    return Verdict("rejected", f"v{manifest.version} of {control.name!r} is not served: {gate.reason}")
                continue
            try:
                patiently(
                    registry.promote,
                    control.name,
                    manifest.version,
                    fence=attempt.claim.fence,
                    run_id=attempt.run_id,
                    expected=pointer.version if pointer else None,
                )
            except PreconditionFailed:
                logger.info("the pointer moved meanwhile", extra={"event": "pointer_moved", "control": control.name})
                continue
            except ClaimLost as error:
                attempt.heartbeat.confirm()  # the claim itself is ours: somebody rolled back under a newer fence
                return Verdict("rejected", f"v{manifest.version} of {control.name!r} is not served: {error}")
            break
        logger.info(
            f"v{manifest.version} of {control.name!r} is served",
            extra={"event": "promoted", "control": control.name, "version": manifest.version},
        )
        return Verdict("promoted", f"v{manifest.version} of {control.name!r}: {gate.reason}")

    def _fit(self, dataset: Dataset, start: InitialWeights, controls_left: int) -> Trained:
        attempt, control = self._attempt, self._control
        checkpoints = attempt.checkpoints_of(control)
        resumed = attempt.heartbeat.patiently(checkpoints.resume, attempt.folder_of(control, "resume"))
        spool = attempt.spool_of(control, controls_left=controls_left)
        attempt.progress.begin_training(control.name, attempt.settings.epochs, dataset.counts)
        if resumed:
            logger.info(f"going on after epoch {resumed.epoch}", extra={"event": "resumed", "epoch": resumed.epoch})
        with CheckpointUploader(spool, checkpoints, attempt.progress.epoch):
            return attempt.trainer.fit(dataset.data, start.weights, attempt.settings, spool, resumed)

    def _judge(self, dataset: Dataset, weights: Path) -> Judged:
        attempt = self._attempt
        judge = Judge(
            trainer=attempt.trainer,
            control=self._control,
            settings=attempt.settings,
            dataset=dataset,
            videos=self._val_videos,
            max_pixels=attempt.images.max_pixels,
        )
        champion = self._champion()
        rival, why_none = self._rival(champion)
        return judge.judge(weights, rival, why_none, served=champion.served)

    def _rival(self, champion: Champion) -> tuple[Rival | None, str]:
        """The champion, or base weights of the control's own yolo task; else why there is nothing."""
        control, missing = self._control, champion.missing
        if champion.manifest and champion.weights:
            manifest = champion.manifest
            unsure = (
                ""
                if "border" in manifest.lineage
                else (f"v{manifest.version} was trained before the val set was fixed and may have seen it")
            )
            rival = Rival(
                f"v{manifest.version}",
                manifest.version,
                champion.weights,
                manifest.labels,
                manifest.shown,
                "; ".join(filter(None, (missing, unsure))),
            )
            return rival, ""
        start = self._base()
        if not start.own:
            return None, "; ".join(filter(None, (missing, f"there are no base weights for {control.yolo_task}")))
        return Rival(f"base-{Path(start.name).stem}", None, start.weights, (), {}, missing), ""

    def _val_videos(self) -> Iterator[tuple[SnapshotTask, Path]]:
        attempt, control = self._attempt, self._control
        for task in attempt.snapshot.tasks_for(control):
            if task.split == "val":
                attempt.heartbeat.check()
                try:
                    video = attempt.images.file(task.id, control.value, task.file_of(control))
                except ImageError:
                    logger.info(f"task {task.id} is left out again", extra={"event": "task_left_out", "task": task.id})
                else:
                    yield task, video

    def _judge_again(self, manifest: Manifest) -> Gate:
        attempt, control = self._attempt, self._control
        dataset = self.dataset()
        if dataset is None:
            raise ModelError(f"v{manifest.version} of {control.name!r} has no dataset to be compared on")
        weights = attempt.folder_of(control, "published") / WEIGHTS
        attempt.heartbeat.patiently(attempt.registry.download_file, control.name, manifest.file(WEIGHTS), weights)
        return self._judge(dataset, weights).gate

    def _champion(self) -> Champion:
        """The version that is served, downloaded and verified, or the newest good one behind it.

        Only a property of its file (its digest, that it is no model) is recorded for everybody. One that the store
        lacks is not: a copy of the store may be on its way.
        """
        attempt, control, patiently = self._attempt, self._control, self._attempt.heartbeat.patiently
        served, missing = None, list[int]()
        manifest = self._serving()
        while manifest:
            path = attempt.folder_of(control, "champion") / f"v{manifest.version}.pt"
            try:
                patiently(attempt.registry.download_file, control.name, manifest.file(WEIGHTS), path)
                attempt.trainer.check(path, control.yolo_task)
            except ModelError as error:
                logger.error(str(error), extra={"event": "version_rejected", "version": manifest.version})
                patiently(attempt.registry.reject, control.name, manifest.version, str(error))
            except NotFound as error:
                logger.error(str(error), extra={"event": "version_missing", "version": manifest.version})
                served = served or manifest.version
                missing.append(manifest.version)
            else:
                return Champion(served or manifest.version, manifest, path, _said(missing))
            manifest = self._comparable(patiently(attempt.registry.behind, control.name, manifest.version))
        return Champion(served, None, None, _said(missing, " and there is no good version behind it"))

    def _serving(self) -> Manifest | None:
        """The version that is served, if it can be compared."""
        return self._comparable(self._attempt.heartbeat.patiently(self._attempt.registry.serving, self._control.name))

    def _comparable(self, manifest: Manifest | None) -> Manifest | None:
        """A control may have been of another yolo task before."""
        return manifest if manifest and manifest.yolo_task == self._control.yolo_task else None

    def _lineage(self, dataset: Dataset, fitted: Trained, start: InitialWeights) -> dict[str, object]:
        attempt, counts = self._attempt, dataset.counts
        return {
            "border": attempt.snapshot.header.border,
            "annotations_digest": attempt.snapshot.header.baseline.digest,
            "dataset_sha256": attempt.snapshot.sha256,
            "tasks": {
                "train": counts.train,
                "val": counts.val,
                "background": counts.background,
                "skipped": attempt.snapshot.header.left_out,
                "left_out": dict(counts.left_out),
            },
            "remarks": counts.remarks,
            "images": {"train": counts.train_images, "val": counts.val_images},
            "things": {"train": counts.train_things, "val": counts.val_things, "foreign_labels": counts.foreign_labels},
            "base": start.name,
            "base_sha256": start.sha256,
            "epochs": fitted.epochs,
            "batch": fitted.batch,
            "attempt": attempt.claim.attempt,
            "settings": attempt.settings.model_dump(mode="json"),
            "ultralytics": dict(fitted.told),
            "packages": {name: package_version(name) for name in _PACKAGES},
        }


def _said(missing: list[int], more: str = "") -> str:
    if not missing:
        return ""
    which = " and ".join(f"v{version}" for version in missing)
    return f"v{missing[0]} is served, but the store lacks {WEIGHTS} of {which}{more}"
