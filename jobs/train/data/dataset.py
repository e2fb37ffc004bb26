"""Writes the dataset of one control, as ultralytics reads it, from a snapshot and the images."""

import logging
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from jobs.train.data.annotations import NothingToLearn, foreign_labels
from jobs.train.data.files import ImageFiles
from jobs.train.data.outage import ImagesOutage, Missing
from jobs.train.data.samples import PLAIN, Sample, Views, image_samples
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.video_frames import video_samples
from jobs.train.data.yolo_dataset import MakeFiles, YoloFiles, chosen_classes, classes_of, files_for
from shared.errors import ImageError
from shared.labelstudio.controls import Control

logger = logging.getLogger(__name__)

_NAMED = 50  # left-out tasks that are listed one by one


@dataclass(slots=True)
class Counts:
    """Numbers about a dataset."""

    tasks: int = 0  # all of the snapshot
    train: int = 0  # tasks in the train set
    val: int = 0
    train_images: int = 0  # more than `train` where tasks give several crops, frames or tiles
    tiles: int = 0  # of these: parts of pictures, whose objects are counted in the pictures
    val_images: int = 0
    train_objects: int = 0  # boxes, outlines …; of a classifier: images, once for each of their classes
    val_objects: int = 0
    classes: dict[str, set[int]] = field(default_factory=lambda: {"train": set(), "val": set()})  # classes that occur
    background: int = 0  # images without an object; unused by classifiers
    foreign_labels: int = 0  # labels of regions that are not in the labeling config
    converted: Counter[str] = field(default_factory=Counter)  # other tool → objects drawn with it and converted
    left_out: Counter[str] = field(default_factory=Counter)  # reason → tasks
    reasons: dict[int, str] = field(default_factory=dict)  # id of a left-out task → reason
    named: list[tuple[int, str]] = field(default_factory=list)  # (task id, reason) of the first left-out tasks

    @property
    def objects(self) -> int:
        """Objects of train and val together."""
        return self.train_objects + self.val_objects

    @property
    def remarks(self) -> str:
        """Sentences about left-out tasks and converted objects: `3 of 40 tasks were left out (2 broken, …), …`."""
        said = []
        if self.left_out:
            first, why = self.named[0]
            said.append(
                f"{self.left_out.total()} of {self.tasks} tasks were left out ({_reasons(self)}), "
                f"{'the first is ' if len(self.named) > 1 else ''}task {first}: {why}"
            )
        if self.converted:
            tools = ", ".join(f"{count} <{tool}>" for tool, count in self.converted.most_common())
            said.append(f"{self.converted.total()} objects were drawn with another tool and converted ({tools})")
        if self.foreign_labels:
            said.append(f"{self.foreign_labels} labels of regions are not in the labeling config: those are not learnt")
        return "; ".join(said)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset on disk."""

    data: Path  # data.yaml
    labels: tuple[str, ...]  # names of the classes, then those of keypoints
    counts: Counts
    views: Views = PLAIN


def build(
    tasks: Iterable[SnapshotTask],
    control: Control,
    images: ImageFiles,
    folder: Path,
    *,
    check: Callable[[], None],
    last: bool = False,
    make_files: MakeFiles = files_for,
    views: Views = PLAIN,
) -> Dataset | None:
    """Write the files of one control below `folder`; None if no task has an object of it.

    `images.concurrency` tasks are read at a time, so memory does not grow with their number. A task that cannot be
    used is left out. `check` is called after each task and at the end; what it raises ends the work. `last`: no attempt
    follows this one. `make_files` makes the writer of the files, of ultralytics' format or another one. `views`: what
    is made of each picture.

    Raises ImagesOutage if too many images cannot be fetched for now, ImagesMissing if most are gone for good,
    NothingToLearn if no task can be used.
    """
    classes = classes_of(control)
    if control.yolo_task == "classify" and len(classes) < 2:
        raise NothingToLearn(f"{control.name!r} has one choice: a classifier needs two or more to tell apart")
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed on this machine
    made = folder / "made"
    made.mkdir(parents=True)
    files = make_files(control, classes, folder, images.image_size, reduced_decoding=images.reduced_decoding)
    counts, missing = Counts(), Missing()
    for task, samples in _with_samples(tasks, control, images, made, views):
        check()
        counts.tasks += 1
        missing.add(task.id, task.split, samples if isinstance(samples, ImageError) else None)
        counts.foreign_labels += foreign_labels(task.regions, control)
        if isinstance(samples, ImageError):
            _leave_out(task, samples, counts)
        else:
            _add(task, samples, files, counts)
    check()
    missing.check(last=last)
    if not counts.train + counts.val + counts.background:
        _raise_without_images(counts)
    if not counts.objects:
        return None
    return Dataset(files.data, control.class_names + control.point_names, counts, views)


def check_both_sides(control: Control, counts: Counts) -> None:
    """Raise NothingToLearn if train or val has no object; of a classifier: fewer than two classes."""
    left_out = f"; {counts.remarks}" if counts.remarks else ""
    for split, objects in (("train", counts.train_objects), ("val", counts.val_objects)):
        if not objects:
            raise NothingToLearn(
                f"{control.name!r} has nothing to {'learn from' if split == 'train' else 'be measured on'}: "
                f"{counts.train} annotated tasks are there to learn from, {counts.val} to measure on, and both sides "
                f"need something annotated: annotate more tasks{left_out}"
            )
    if control.yolo_task == "classify":
        for split, seen in counts.classes.items():
            if len(seen) < 2:
                raise NothingToLearn(
                    f"the {'tasks to learn from' if split == 'train' else 'tasks held out to measure on'} of "
                    f"{control.name!r} show one class only: annotate more of the others{left_out}"
                )


def _with_samples(
    tasks: Iterable[SnapshotTask],
    control: Control,
    images: ImageFiles,
    folder: Path,
    views: Views,
) -> Iterator[tuple[SnapshotTask, list[Sample] | ImageError]]:
    """Each task with its samples, or why it has none; in order, at most `images.concurrency` being read."""
    waiting: deque[tuple[SnapshotTask, Future[list[Sample]]]] = deque()
    with ThreadPoolExecutor(images.concurrency, thread_name_prefix="images") as pool:
        try:
            for task in tasks:
                waiting.append((task, pool.submit(_samples, task, control, images, folder, views)))
                if len(waiting) >= images.concurrency:
                    yield _with_result(*waiting.popleft())
            while waiting:
                yield _with_result(*waiting.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _samples(task: SnapshotTask, control: Control, images: ImageFiles, folder: Path, views: Views) -> list[Sample]:
    if task.unusable:
        raise ImageError("unusable", task.unusable)
    if control.media == "image":
        return image_samples(task, control, images, folder, views)
    video = images.file(task.id, control.value, task.file_of(control))
    return video_samples(task, control, video, folder, max_pixels=images.max_pixels, image_size=images.image_size)


def _with_result(task: SnapshotTask, samples: Future[list[Sample]]) -> tuple[SnapshotTask, list[Sample] | ImageError]:
    try:
        return task, samples.result()
    except ImageError as error:
        return task, error
    except (ImagesOutage, OSError):  # a full disk, for example: not the task's fault
        raise
    except Exception as error:  # an import may write any JSON into tasks and annotations
        logger.exception(f"unexpected error reading task {task.id}", extra={"event": "task_crashed", "task": task.id})
        return task, ImageError("crashed", f"unexpected error reading it ({type(error).__name__}: {error})")


def _add(task: SnapshotTask, samples: list[Sample], files: YoloFiles, counts: Counts) -> None:
    for tile in (sample for sample in samples if sample.tile):
        files.add(task.split, tile)
    samples, tiles = [sample for sample in samples if not sample.tile], sum(sample.tile for sample in samples)
    written = [objects for sample in samples if (objects := files.add(task.split, sample)) is not None]
    counts.converted.update(tool for sample in samples for tool in sample.converted)
    counts.background += sum(not objects for objects in written) + len(samples) - len(written) + (not samples)
    if not written:
        return
    counts.classes[task.split].update(class_ for sample in samples for class_ in chosen_classes(sample))
    if task.split == "val":
        counts.val += 1
        counts.val_images += len(written)
        counts.val_objects += sum(written)
    else:
        counts.train += 1
        counts.train_images += len(written) + tiles
        counts.tiles += tiles
        counts.train_objects += sum(written)


def _leave_out(task: SnapshotTask, error: ImageError, counts: Counts) -> None:
    counts.left_out[error.reason] += 1
    counts.reasons[task.id] = error.reason
    if len(counts.named) < _NAMED:
        counts.named.append((task.id, str(error)))
    logger.warning(
        f"task {task.id} is left out: {error}",
        extra={"event": "task_left_out", "task": task.id, "reason": error.reason},
    )


def _raise_without_images(counts: Counts) -> None:
    if not counts.left_out:
        raise NothingToLearn("the project has no annotated task")
    sentence = f"not one annotated task could be used ({_reasons(counts)}); the first: {counts.named[0][1]}"
    raise NothingToLearn(sentence)


def _reasons(counts: Counts) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.left_out.most_common())
