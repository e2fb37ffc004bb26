"""A frozen dataset as ultralytics reads it: image and label files of one control, and `data.yaml`."""

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from jobs.train.annotations import NothingToLearn, foreign_labels
from jobs.train.frozen import FrozenTask
from jobs.train.images import HEALING, Picture, Pictures
from jobs.train.yolo_labels import label_lines
from shared.errors import ImageError
from shared.labelstudio.config import Control
from shared.labelstudio.regions import CONTROLS

logger = logging.getLogger(__name__)

LEAST_VAL = 5  # tasks; with fewer nothing is compared
_NAMED = 50  # left-out tasks that are named one by one


@dataclass(slots=True)
class Counts:
    """What went into a dataset."""

    train: int = 0  # images
    val: int = 0
    train_boxes: int = 0
    val_boxes: int = 0
    background: int = 0  # images without a box
    foreign_labels: int = 0  # labels of regions that are not in the labeling config
    left_out: Counter[str] = field(default_factory=Counter)  # reason → tasks
    named: list[tuple[int, str]] = field(default_factory=list)  # (task id, sentence), the first ones

    @property
    def boxes(self) -> int:
        """All boxes."""
        return self.train_boxes + self.val_boxes


@dataclass(frozen=True, slots=True)
class Dataset:
    """Files on disk."""

    data: Path  # data.yaml
    labels: tuple[str, ...]  # class index → label
    counts: Counts
    trains_on_val: bool  # every task fell into val, or all boxes did
    validates_on_train: bool  # no task fell into val

    @property
    def comparable(self) -> bool:
        """Whether numbers on the val set say anything about images that were not trained on."""
        return self.counts.val >= LEAST_VAL and not self.trains_on_val


def build(
    tasks: Iterable[FrozenTask],
    control: Control,
    pictures: Pictures,
    folder: Path,
    *,
    concurrency: int,
    check: Callable[[], None],
) -> Dataset | None:
    """Write the files of one control; None if no task holds a box of it.

    Images are fetched concurrently, a few ahead of the one that is written; memory does not grow with the tasks. A task
    whose image cannot be had is left out. `check` is called once a task; what it raises ends the work.

    Raises ImageError if not one image could be had for a reason that may heal, NothingToLearn if it cannot.
    """
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True, exist_ok=True)
        (folder / "labels" / split).mkdir(parents=True, exist_ok=True)
    counts = Counts()
    for task, picture in _with_pictures(tasks, control, pictures, concurrency):
        check()
        counts.foreign_labels += foreign_labels(task.regions, control)
        if isinstance(picture, ImageError):
            _leave_out(task, picture, counts)
        else:
            _write(task, picture, control, folder, counts)
    if not counts.train + counts.val:
        _raise_without_images(counts)
    if not counts.boxes:
        return None
    trains_on_val, validates_on_train = not counts.train_boxes, not counts.val
    data = {
        "path": str(folder.resolve()),
        "train": ["images/train", "images/val"] if trains_on_val else "images/train",
        "val": "images/train" if validates_on_train else "images/val",
        "names": list(control.label_values),
    }
    (folder / "data.yaml").write_text(json.dumps(data, ensure_ascii=False, indent=1))  # JSON is YAML
    return Dataset(folder / "data.yaml", control.label_values, counts, trains_on_val, validates_on_train)


def _with_pictures(
    tasks: Iterable[FrozenTask], control: Control, pictures: Pictures, concurrency: int
) -> Iterator[tuple[FrozenTask, Picture | ImageError]]:
    """In the order of the tasks, at most `concurrency` of them under way."""
    waiting: deque[tuple[FrozenTask, Future[Picture]]] = deque()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="images") as pool:
        try:
            for task in tasks:
                value = task.data.get(control.value_key)
                waiting.append((task, pool.submit(pictures.get, task.id, control.value_key, value)))
                if len(waiting) >= concurrency:
                    yield _landed(*waiting.popleft())
            while waiting:
                yield _landed(*waiting.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _landed(task: FrozenTask, picture: Future[Picture]) -> tuple[FrozenTask, Picture | ImageError]:
    try:
        return task, picture.result()
    except ImageError as error:
        return task, error


def _write(task: FrozenTask, picture: Picture, control: Control, folder: Path, counts: Counts) -> None:
    found = CONTROLS[control.tag].read(task.regions, control, picture.width, picture.height)
    image = folder / "images" / task.split / f"{task.id}{picture.path.suffix}"
    image.unlink(missing_ok=True)
    os.link(picture.path, image)
    lines = label_lines(found, control.yolo_task)
    (folder / "labels" / task.split / f"{task.id}.txt").write_text("".join(lines))
    counts.background += not lines
    if task.split == "val":
        counts.val += 1
        counts.val_boxes += len(lines)
    else:
        counts.train += 1
        counts.train_boxes += len(lines)


def _leave_out(task: FrozenTask, error: ImageError, counts: Counts) -> None:
    counts.left_out[error.reason] += 1
    if len(counts.named) < _NAMED:
        counts.named.append((task.id, str(error)))
    logger.warning(
        f"task {task.id} is left out: {error}",
        extra={"event": "task_left_out", "task": task.id, "reason": error.reason},
    )


def _raise_without_images(counts: Counts) -> None:
    if not counts.left_out:
        raise NothingToLearn("the project has no annotated task")
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.left_out.most_common())
    sentence = f"not one image of the annotated tasks could be had ({reasons}); the first: {counts.named[0][1]}"
    for reason in counts.left_out:
        if reason in HEALING:
            raise ImageError(reason, sentence)
    raise NothingToLearn(sentence)
