"""One control of one run: build the dataset, train, judge, publish the manifest, promote."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Literal

from jobs.train.attempt import Attempt
from jobs.train.champion import find_champion, initial_weights, rival_of, serving
from jobs.train.checkpoints.spool import Epoch
from jobs.train.checkpoints.uploader import CheckpointUploader
from jobs.train.data import dataset as datasets
from jobs.train.data.dataset import Dataset
from jobs.train.data.learnt import Learnt, write_learnt
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.taken_up import TakenUp, total
from jobs.train.judging import Judge, Judged
from jobs.train.preset import preset, taught
from jobs.train.report.made import Made
from jobs.train.report.making import Reporter
from jobs.train.suspect_list import list_suspects
from jobs.train.tracking import Tracked
from jobs.train.training import InitialWeights, Trained
from jobs.train.views import views_for
from shared import tracing
from shared.errors import ClaimLost, ImageError, ModelError, PreconditionFailed
from shared.evolve import evolve
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import is_used
from shared.state.suspects import SUSPECTS, SuspectList, read_dismissals
from shared.state.versions import DATASET, GRAPH, REPORT, WEIGHTS, Manifest, Tiles

logger = logging.getLogger(__name__)

_PACKAGES = ("labelloop", "torch", "ultralytics")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a control's run ended."""

    outcome: Literal["promoted", "rejected"]
    message: str
    suspects: int = 0  # annotations that are worth a look


def learn(attempt: Attempt, control: Control, *, controls_left: int) -> Verdict | None:
    """Train, publish and promote the next version of a control; None if no annotation uses this control.

    A version that an earlier attempt of this run published is only promoted. `controls_left`: how many controls, this
    one included, share the time that is left. Raises ClaimLost, ModelError, NothingToLearn, StoreError, ImagesOutage,
    ImagesMissing and what the trainer raises.
    """
    if not any(is_used(task.regions, control) for task in attempt.snapshot.tasks()):
        return None  # before images are fetched, whose absence could end the run
    dataset = None
    manifest = attempt.registry.published_by(control.name, attempt.run_id)
    if manifest is None:
        if undone := _rolled_back(attempt, control):
            return Verdict("rejected", undone)
        start = initial_weights(attempt, control)  # before images are fetched: a bad file ends the run at once
        dataset = _dataset(attempt, control)
        if dataset is None:
            return None
        datasets.check_both_sides(control, dataset.counts)
        params = {"base": start.name, "base_sha256": start.sha256, **attempt.settings.model_dump(mode="json")}
        with attempt.tracker.run(attempt.jobs.uid, attempt.run_id, control.name, params) as tracked:
            manifest = _train_and_publish(attempt, control, dataset, start, controls_left, tracked)
            tracked.published(manifest, _report_of(attempt, control).read_bytes())
    verdict = replace(_promote(attempt, control, manifest, dataset), suspects=manifest.lineage.get("suspects", 0))
    remarks = manifest.lineage.get("remarks")
    return replace(verdict, message=f"{verdict.message} ({remarks})") if remarks else verdict


def _rolled_back(attempt: Attempt, control: Control) -> str:
    """Why nothing but a version that a person rolled back would come of this training; empty if there is none such."""
    versions = attempt.registry.rolled_back(control.name)
    digest = attempt.snapshot.digest_of(control) if versions else ""
    settings = attempt.settings.model_dump(mode="json").items()
    for number, lineage in ((each.version, each.lineage) for each in versions):
        if lineage.get("data_sha256") == digest and lineage.get("settings", {}).items() <= settings:
            return (
                f"{control.name!r} was not trained: its annotations and settings are those of v{number}, which was "
                f"rolled back; annotate more, change a setting, or serve it: `labelloop rollback --to {number}`"
            )
    return ""


def _dataset(attempt: Attempt, control: Control) -> Dataset | None:
    attempt.progress.phase("dataset", control=control.name)
    return datasets.build(
        attempt.snapshot.tasks_for(control),
        control,
        attempt.images,
        attempt.folder_of(control, "dataset"),
        concurrency=attempt.fetch_concurrency,
        check=attempt.check_of(control),
        last=attempt.last,
        views=views_for(attempt, control),
    )


def _train_and_publish(
    attempt: Attempt,
    control: Control,
    dataset: Dataset,
    start: InitialWeights,
    controls_left: int,
    tracked: Tracked,
) -> Manifest:
    trained, epochs = _train(attempt, control, dataset, start, controls_left, tracked)
    attempt.progress.phase("gate", control=control.name)
    tiling = dataset.views.tiling
    graph = attempt.trainer.export(trained.weights, attempt.folder_of(control, "graph"), tiling)
    judged = _judge(attempt, control, dataset, graph, weights=trained.weights)
    attempt.progress.phase("publish", control=control.name, message=judged.gate.reason)
    taken_up = _taken_up(attempt, control)
    learnt = attempt.folder_of(control, "learnt") / DATASET
    header = write_learnt(attempt.snapshot, control, dataset.counts, attempt.images, learnt)
    reporter = Reporter(
        Made(
            attempt=attempt,
            control=control,
            dataset=dataset,
            judged=judged,
            taken_up=taken_up,
            learnt=Learnt(learnt, header),
            epochs=epochs,
            notes=(*judged.notes, *trained.notes, *filter(None, [trained.stopped])),
        )
    )
    made = {WEIGHTS: trained.weights, GRAPH: graph, DATASET: learnt}
    suspects = _suspects(attempt, control, dataset, judged)
    if suspects:
        made[SUSPECTS] = attempt.folder_of(control, "suspects") / SUSPECTS
        made[SUSPECTS].write_bytes(suspects.to_json())
    files = tuple(attempt.registry.upload_file(control.name, name, path) for name, path in made.items())
    more = {"taken_up": taken_up.as_json(), "suspects": _still_open(attempt, control, suspects)}

    @cache
    def build(number: int) -> Manifest:
        manifest = Manifest(
            version=number,
            control=control.name,
            yolo_task=control.yolo_task,
            labels=dataset.labels,
            files=files,
            metrics=judged.metrics,
            gate=judged.gate,
            shown=judged.shown,
            tiling=Tiles(side=tiling.side, overlap=tiling.overlap) if tiling else None,
            lineage=_lineage(attempt, control, dataset, trained, start) | more,
            run_id=attempt.run_id,
            fence=attempt.claim.fence,
            created_at=attempt.store.now(),
        )
        page = _report_of(attempt, control)  # it names the number, so each has its own
        page.write_text(reporter.html(manifest), encoding="utf-8")
        return evolve(manifest, files=(*files, attempt.registry.upload_file(control.name, REPORT, page)))

    attempt.heartbeat.confirm()
    return attempt.registry.publish(control.name, build)


def _report_of(attempt: Attempt, control: Control) -> Path:
    return attempt.folder_of(control, "report") / REPORT


def _suspects(attempt: Attempt, control: Control, dataset: Dataset, judged: Judged) -> SuspectList | None:
    """The annotations of the val set that are worth a look; None if that cannot be said of this control."""
    try:
        return list_suspects(control, dataset, judged, attempt.snapshot.held_out(control))
    except Exception:  # a version is not lost for a list
        logger.exception("no list of suspects was made", extra={"event": "suspects_failed", "control": control.name})
        return None


def _still_open(attempt: Attempt, control: Control, suspects: SuspectList | None) -> int:
    """How many of them nobody has dismissed."""
    if suspects is None:
        return 0
    dismissals = read_dismissals(attempt.store, attempt.jobs.uid, control.name)
    return suspects.count - sum(dismissals.hold(one) for one in suspects.suspects)


def _taken_up(attempt: Attempt, control: Control) -> TakenUp:
    """What annotators made of the predictions of the version that is served, since it is."""
    served = attempt.registry.look(control.name)
    return total(
        f"v{served.manifest.version}" if served.manifest else "the base weights",
        ((task.submitted, task.made.get(control.name)) for task in attempt.snapshot.tasks()),
        since=served.pointer.moved_at if served.pointer else None,
    )


def _promote(attempt: Attempt, control: Control, manifest: Manifest, dataset: Dataset | None) -> Verdict:
    """Move the pointer to `manifest`. If it names another version than the gate saw, judge again against that one.

    `dataset`: None if an earlier attempt published; then it is built only if it is needed.
    """
    registry, gate = attempt.registry, manifest.gate
    if gate.passed:
        attempt.progress.phase("promote", control=control.name, message=gate.reason)
    while gate.passed:
        attempt.heartbeat.confirm()
        pointer = registry.pointer(control.name)
        if pointer and (pointer.run_id, pointer.version) == (attempt.run_id, manifest.version):
            break
        served = serving(attempt, control)
        if (served.version if served else None) != gate.champion_version:
            dataset = dataset or _dataset(attempt, control)
            if dataset is None:
                raise ModelError(f"v{manifest.version} of {control.name!r} has no dataset to be compared on")
            graph = attempt.folder_of(control, "published") / GRAPH
            registry.download_file(control.name, manifest.file(GRAPH), graph)
            gate = _judge(attempt, control, dataset, graph).gate
            continue
        try:
            registry.promote(
                control.name,
                manifest.version,
                fence=attempt.claim.fence,
                run_id=attempt.run_id,
                expected=pointer.version if pointer else None,
            )
        except PreconditionFailed:
            logger.info(
                "the pointer was moved by somebody else: judging again",
                extra={"event": "pointer_moved", "control": control.name},
            )
            continue
        except ClaimLost:
            attempt.heartbeat.confirm()  # raises if the claim is lost; else somebody rolled back with a newer fence
            return _rejected(
                manifest,
                f"somebody rolled back while it trained; `labelloop rollback --to {manifest.version}` serves it",
            )
        break
    else:
        return _rejected(manifest, gate.reason)
    logger.info(
        f"v{manifest.version} of {control.name!r} is served",
        extra={"event": "promoted", "control": control.name, "version": manifest.version},
    )
    return Verdict("promoted", f"v{manifest.version} of {control.name!r}: {gate.reason}")


def _rejected(manifest: Manifest, why: str) -> Verdict:
    return Verdict("rejected", f"v{manifest.version} of {manifest.control!r} is not served: {why}")


def _train(
    attempt: Attempt,
    control: Control,
    dataset: Dataset,
    start: InitialWeights,
    controls_left: int,
    tracked: Tracked,
) -> tuple[Trained, list[Epoch]]:
    """What was trained, and the epochs of this attempt."""
    checkpoints = attempt.checkpoints_of(control)
    resumed = checkpoints.resume(attempt.folder_of(control, "resume"))
    spool = attempt.spool_of(control, controls_left=controls_left)
    chosen = preset(attempt.settings, dataset.counts.train_images, control.yolo_task)
    settings, data = chosen.applied(attempt.settings), taught(dataset.data, chosen.passes)
    if resumed:  # one image more or less could be had this time, and more or fewer epochs be chosen
        settings = evolve(settings, epochs=resumed.epochs)
    attempt.progress.begin_training(control.name, settings.epochs, dataset.counts)
    if resumed:
        logger.info(f"going on after epoch {resumed.epoch}", extra={"event": "resumed", "epoch": resumed.epoch})
    done = dict[int, Epoch]()

    def note(epoch: Epoch) -> None:
        done[epoch.number] = epoch
        tracked.epoch(epoch)

    with CheckpointUploader(spool, checkpoints, attempt.progress.epoch, every=note):
        trained = attempt.trainer.fit(data, start.weights, settings, spool, resumed)
    return replace(trained, stopped=attempt.stopped_early(trained, spool, settings.epochs)), list(done.values())


def _judge(attempt: Attempt, control: Control, dataset: Dataset, graph: Path, weights: Path | None = None) -> Judged:
    judge = Judge(
        trainer=attempt.trainer,
        control=control,
        settings=attempt.settings,
        dataset=dataset,
        videos=lambda: _val_videos(attempt, control),
        max_pixels=attempt.images.max_pixels,
    )
    champion = find_champion(attempt, control)
    rival, why_none = rival_of(attempt, control, champion)
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


def _lineage(
    attempt: Attempt, control: Control, dataset: Dataset, trained: Trained, start: InitialWeights
) -> dict[str, object]:
    counts, header = dataset.counts, attempt.snapshot.header
    trace = tracing.current()  # what predict's first prediction goes on from
    return ({"trace": trace} if trace else {}) | {
        "border": header.border,
        "annotations_digest": header.baseline.digest,
        "dataset_sha256": attempt.snapshot.sha256,
        "data_sha256": attempt.snapshot.digest_of(control),
        "tasks": {
            "train": counts.train,
            "val": counts.val,
            "background": counts.background,
            "skipped": header.left_out,
            "left_out": dict(counts.left_out),
        },
        "remarks": "; ".join(filter(None, [trained.stopped, counts.remarks])),
        "images": {"train": counts.train_images, "val": counts.val_images},
        "tiles": counts.tiles,  # of these images to learn from
        "things": {"train": counts.train_objects, "val": counts.val_objects, "foreign_labels": counts.foreign_labels},
        "base": start.name,
        "base_sha256": start.sha256,
        "epochs": trained.epochs,
        "passes": preset(attempt.settings, counts.train_images, control.yolo_task).passes,
        "batch": trained.batch,
        "attempt": attempt.claim.attempt,
        "seconds": round(attempt.settings.longest_run - attempt.seconds_left()),
        "settings": attempt.settings.model_dump(mode="json"),
        "ultralytics": dict(trained.told),
        "packages": {name: package_version(name) for name in _PACKAGES},
    }
