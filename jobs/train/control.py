"""One control of one run: build its dataset, train, compare with the champion, publish, promote."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from jobs.train.attempt import Attempt
from jobs.train.averaging import better_of
from jobs.train.champion import initial_weights, judge_with_champion
from jobs.train.checkpoints.spool import Epoch
from jobs.train.checkpoints.uploader import CheckpointUploader
from jobs.train.control_dataset import build_dataset
from jobs.train.data.dataset import Dataset, check_both_sides
from jobs.train.data.learnt import Learnt, write_learnt
from jobs.train.data.taken_up import TakenUp, total
from jobs.train.experiment_tracker import Tracked
from jobs.train.lineage import attributes_of
from jobs.train.new_version import NewVersion
from jobs.train.preset import preset, training_data
from jobs.train.promoting import Verdict, promote
from jobs.train.publishing import publish, report_of
from jobs.train.training import InitialWeights, Trained
from shared.evolve import evolve
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import is_used
from shared.state import jobs_fields
from shared.state.versions import DATASET

logger = logging.getLogger(__name__)


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
        dataset = build_dataset(attempt, control)
        if dataset is None:
            return None
        check_both_sides(control, dataset.counts)
        # Not before: of annotations that nothing is learnt from, the border may be 0, and it never rises again.
        attempt.jobs.update(jobs_fields.lower_val_border, attempt.snapshot.header.border)
        params = {"base": start.name, "base_sha256": start.sha256, **attempt.settings.model_dump(mode="json")}
        with attempt.tracker.run(attempt.jobs.uid, attempt.run_id, control.name, params) as tracked:
            trained, epochs = _train(attempt, control, dataset, start, controls_left, tracked)
            manifest = publish(_judged(attempt, control, dataset, start, trained, epochs))
            tracked.published(manifest, report_of(attempt, control).read_bytes())
    return promote(attempt, control, manifest, dataset)


def _rolled_back(attempt: Attempt, control: Control) -> str:
    """Why nothing but a version that a person rolled back would come of this training; empty if there is none such."""
    versions = attempt.registry.rolled_back(control.name)
    digest = attempt.snapshot.digest_of(control) if versions else ""
    settings = attempt.settings.model_dump(mode="json").items()
    attributes = attributes_of(control)
    for number, lineage in ((each.version, each.lineage) for each in versions):
        same = lineage.get("attributes", attributes) == attributes  # an older labelloop did not tell them
        if same and lineage.get("data_sha256") == digest and lineage.get("settings", {}).items() <= settings:
            return (
                f"{control.name!r} was not trained: its annotations and settings are those of v{number}, which was "
                f"rolled back; annotate more, change a setting, or serve it: `labelloop rollback --to {number}`"
            )
    return ""


def _train(
    attempt: Attempt,
    control: Control,
    dataset: Dataset,
    start: InitialWeights,
    controls_left: int,
    tracked: Tracked,
) -> tuple[Trained, Sequence[Epoch]]:
    """What was trained, and the epochs of this attempt."""
    checkpoints = attempt.checkpoints_of(control)
    resumed = checkpoints.resume(attempt.folder_of(control, "resume"))
    spool = attempt.spool_of(control, controls_left=controls_left)
    chosen = preset(attempt.settings, dataset.counts.train_images, control.yolo_task)
    settings, data = chosen.applied(attempt.settings), training_data(dataset.data, chosen.passes)
    if resumed:  # one image more or less could be had this time, and more or fewer epochs be chosen
        settings = evolve(settings, epochs=resumed.epochs)
    attempt.progress.begin_training(control.name, settings.epochs, dataset.counts)
    if resumed:
        logger.info(f"continuing after epoch {resumed.epoch}", extra={"event": "resumed", "epoch": resumed.epoch})
    done = dict[int, Epoch]()

    def note(epoch: Epoch) -> None:
        done[epoch.number] = epoch
        tracked.epoch(epoch)

    with CheckpointUploader(spool, checkpoints, attempt.progress.epoch, every=note):
        trained = attempt.trainer.fit(data, start.weights, settings, spool, resumed)
    return replace(trained, stopped=attempt.stopped_early(trained, spool, settings.epochs)), list(done.values())


def _judged(
    attempt: Attempt,
    control: Control,
    dataset: Dataset,
    start: InitialWeights,
    trained: Trained,
    epochs: Sequence[Epoch],
) -> NewVersion:
    """What was trained, or its mean with the champion, compared with the champion."""
    attempt.progress.phase("gate", control=control.name)
    better = better_of(attempt, control, dataset, start, trained)
    judged = judge_with_champion(attempt, control, dataset, better.graph, weights=better.trained.weights)
    learnt = attempt.folder_of(control, "learnt") / DATASET
    header = write_learnt(attempt.snapshot, control, dataset.counts, attempt.images, learnt)
    return NewVersion(
        attempt=attempt,
        control=control,
        start=start,
        dataset=dataset,
        learnt=Learnt(learnt, header),
        trained=better.trained,
        epochs=epochs,
        graph=better.graph,
        judged=judged,
        taken_up=_taken_up(attempt, control),
    )


def _taken_up(attempt: Attempt, control: Control) -> TakenUp:
    """What annotators made of the predictions of the version that is served, since it is."""
    served = attempt.registry.look(control.name)
    return total(
        f"v{served.manifest.version}" if served.manifest else "the base weights",
        ((task.submitted, task.made.get(control.name)) for task in attempt.snapshot.tasks()),
        since=served.pointer.moved_at if served.pointer else None,
    )
