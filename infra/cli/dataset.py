"""`labelloop dataset`: the dataset that a version learnt from, in a folder, for use without labelloop."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.cli.folders import work_folder
from infra.cli.model_card import table, text
from infra.datasets import coco
from infra.datasets.rebuilding import Rebuilt, missing_sentence, rebuild, settings_of
from jobs.train.data.fetching import Fetching
from jobs.train.data.learnt import Learnt, read_learnt
from jobs.train.data.samples import PLAIN, Views
from jobs.train.data.yolo_dataset import MakeFiles, files_for
from jobs.train.training import task_image_size
from shared.errors import LabelloopError
from shared.settings import Settings
from shared.state.registry import Registry
from shared.state.versions import DATASET, Manifest

CARD, TASKS = "README.md", "tasks.jsonl"
_LONGEST_NAME = 50  # characters of a label in the name of a folder

FORMATS: Mapping[str, MakeFiles] = {"yolo": files_for, "coco": coco.CocoFiles}
"""By the name that a person gives."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    folder: Path
    rebuilt: Rebuilt

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        counts = self.rebuilt.dataset.counts
        return {
            "folder": str(self.folder),
            "images": {"train": counts.train_images, "val": counts.val_images},
            "objects": {"train": counts.train_objects, "val": counts.val_objects},
            "missing": {str(task): why for task, why in self.rebuilt.missing.items()},
            "differs": self.rebuilt.differs,
        }

    def sentence(self) -> str:
        """For a person."""
        counts = self.rebuilt.dataset.counts
        more = missing_sentence(self.rebuilt) if self.rebuilt.missing else self.rebuilt.differs
        return (
            f"{counts.train_images} images to train on and {counts.val_images} to validate on, in {self.folder}"
            f"{f'; {more}' if more else ''}"
        )


def write_dataset(
    registry: Registry,
    manifest: Manifest,
    fetching: Fetching,
    settings: Settings,
    *,
    format_name: str,
    folder: Path,
    tell: Callable[[str], None],
) -> Written:
    """Write a version's dataset to `folder`, which must be empty or not there. `tell` hears of the progress.

    All is made in a folder within it and moved when it is whole, the card last. Raises NotKnown, StoreError, and
    LabelloopError: also if most images cannot be fetched, or a classifier's are asked for as COCO.
    """
    make_files = FORMATS.get(format_name)
    if make_files is None:
        raise LabelloopError(f"--format {format_name} is not known, there are {', '.join(FORMATS)}")
    with work_folder(folder) as work:
        learnt = read_learnt(registry, manifest, work / DATASET)
        # Its tiles are not kept; whoever wants to cut some needs all pixels.
        views = Views(in_full=("train", "val")) if manifest.tiling else PLAIN
        rebuilt = rebuild(learnt, manifest, fetching, settings, work, make_files=make_files, views=views, tell=tell)
        made = work / "dataset"
        (made / "made").rename(work / "made")  # crops and frames, of which the dataset has its own
        if format_name == "coco":
            coco.finish(made, f"{manifest.control} v{manifest.version}, run {manifest.run_id}")
        else:
            _finish_yolo(made, manifest)
        _list_tasks(learnt, rebuilt, made / TASKS)
        (made / CARD).write_text(_card(manifest, rebuilt, format_name), encoding="utf-8")
        for path in sorted(made.iterdir(), key=lambda path: path.name == CARD):
            path.rename(folder / path.name)
    return Written(folder, rebuilt)


def _finish_yolo(made: Path, manifest: Manifest) -> None:
    """Let the folder be moved: data.yaml names no other place. Folders of classes get the names of their labels."""
    path = made / "data.yaml"
    described = json.loads(path.read_text(encoding="utf-8"))
    described = {name: value for name, value in described.items() if name not in ("path", "control")}
    path.write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")  # JSON is YAML
    if manifest.yolo_task == "classify":
        for split in ("train", "val"):
            folders = sorted((made / split).iterdir())  # numbered, in the order of the classes
            for number, (folder, label) in enumerate(zip(folders, described["names"], strict=True)):
                folder.rename(folder.with_name(_class_folder(number, label)))


def _class_folder(number: int, label: str) -> str:
    """The number keeps the order of the model's classes; of the label what every file system takes."""
    return f"{number:03d}_{re.sub('[^A-Za-z0-9-]+', '_', label)[:_LONGEST_NAME] or 'none'}"


def _list_tasks(learnt: Learnt, rebuilt: Rebuilt, path: Path) -> None:
    """One line for each task of the project then: where its image is, its digest, and why it is not in the dataset."""
    with path.open("w", encoding="utf-8") as lines:
        for task in learnt.tasks():
            line = {
                "task": task.id,
                "annotation": task.annotation,
                "updated_at": task.updated_at,
                "split": task.split,
                "image": task.data.get(learnt.control.value),
                "sha256": task.sha256,
                "left_out": task.left_out,
                "missing": rebuilt.missing.get(task.id, ""),
            }
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def _card(manifest: Manifest, rebuilt: Rebuilt, format_name: str) -> str:
    """Markdown."""
    counts, lineage = rebuilt.dataset.counts, manifest.lineage
    left_out = lineage.get("tasks", {}).get("left_out") or {}
    lines = [
        f"# The dataset of {text(manifest.control)}, version {manifest.version}",
        "",
        f"What run {manifest.run_id} of {manifest.created_at:%Y-%m-%d} learnt from, written by labelloop as "
        f"{'COCO' if format_name == 'coco' else 'ultralytics reads it'}. Images are upright, and "
        f"{'have all their pixels' if manifest.tiling else 'not much larger than the model saw them'}; their names "
        f"begin with the id of Label Studio's task. `{TASKS}` lists all tasks with address and SHA-256 of their "
        "images, as they were fetched.",
        "",
        *_tiles(manifest),
        *table(
            ("", "images", "objects"),
            (
                ("train", counts.train_images, counts.train_objects),
                ("val", counts.val_images, counts.val_objects),
            ),
        ),
        "",
    ]
    if format_name == "yolo":
        folder = manifest.yolo_task == "classify"
        data = "." if folder else "data.yaml"
        lines += [
            "```sh",
            f"yolo {manifest.yolo_task} train data={data} model=… imgsz={_image_size(manifest)}",
            "```",
            "",
        ]
    if left_out:
        named = ", ".join(f"{number} {why}" for why, number in left_out.items())
        lines += [f"The version learnt from nothing of {sum(left_out.values())} other tasks: {text(named)}.", ""]
    if rebuilt.missing:
        lines += [f"**Not complete: {text(missing_sentence(rebuilt))}.**", ""]
    if rebuilt.differs:
        lines += [f"**Not the same: {text(rebuilt.differs)}.**", ""]
    return "\n".join(lines)


def _tiles(manifest: Manifest) -> list[str]:
    if manifest.tiling is None:
        return []
    side, overlap = manifest.tiling.side, manifest.tiling.overlap
    return [
        f"The version learnt from tiles of {side} pixels of these pictures, which overlap by {overlap} or more, and "
        "from the whole pictures; it is served in such tiles too. Here are the whole pictures alone.",
        "",
    ]


def _image_size(manifest: Manifest) -> int:
    size = settings_of(manifest).get("image_size")
    return task_image_size(manifest.yolo_task, size) if isinstance(size, int) else 640
