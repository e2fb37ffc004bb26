"""What differs between two versions of a control: what they learnt from, how, and what came of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.train.data.learnt import LearntTask
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import label_items, words_of
from shared.state.versions import Manifest

Two = tuple[Any, Any]
"""The value of the first version, and of the second; None where one has none."""


@dataclass(frozen=True, slots=True)
class Data:
    """What one version learnt from, small enough for memory."""

    tasks: Mapping[int, str]  # id of a task that was used → fingerprint
    images: Mapping[int, str]  # → SHA-256 of its image or video
    val: frozenset[int]  # ids of those that it was measured on
    labels: Mapping[str, int]  # label → how often it was given


@dataclass(frozen=True, slots=True)
class Tasks:
    """Ids of tasks, ascending."""

    added: tuple[int, ...]
    removed: tuple[int, ...]
    changed: tuple[int, ...]  # annotated otherwise, in the other set, or with another image
    new_images: tuple[int, ...]  # of the changed ones: other bytes
    same_val: bool  # both were measured on the same tasks with the same annotations


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions; of everything but metrics only what differs."""

    before: Manifest
    after: Manifest
    tasks: Tasks | None  # None: one of them does not say what it learnt from
    labels: Mapping[str, Two]  # label → how often it was given
    settings: Mapping[str, Two]
    training: Mapping[str, Two]  # base weights, epochs, images …
    packages: Mapping[str, Two]
    shown: Mapping[str, Two]  # label → its thresholds
    metrics: Mapping[str, Two]  # all of them

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        tasks = self.tasks
        names = ("labels", "settings", "training", "packages", "shown", "metrics")
        return {
            "before": self.before.version,
            "after": self.after.version,
            "tasks": {
                "added": list(tasks.added),
                "removed": list(tasks.removed),
                "changed": list(tasks.changed),
                "new_images": list(tasks.new_images),
                "same_val": tasks.same_val,
            }
            if tasks
            else None,
            **{name: {key: list(two) for key, two in getattr(self, name).items()} for name in names},
            "seconds": [self.before.seconds, self.after.seconds],
            "cost": [one.cost.as_json() if one.cost else None for one in (self.before, self.after)],
            "gate": [one.gate.model_dump(mode="json") for one in (self.before, self.after)],
        }


def data_of(tasks: Iterable[LearntTask], control: Control) -> Data:
    """What a version learnt from. Tasks that it left out are no part of it."""
    fingerprints, images, val, labels = dict[int, str](), dict[int, str](), set[int](), Counter[str]()
    for task in tasks:
        if task.left_out:
            continue
        fingerprints[task.id], images[task.id] = task.fingerprint, task.sha256
        if task.split == "val":
            val.add(task.id)
        labels.update(label for _, given in label_items(task.regions, control) for label in words_of(given) or ())
    return Data(fingerprints, images, frozenset(val), {label: labels[label] for label in sorted(labels)})


def compare(before: Manifest, after: Manifest, data: tuple[Data, Data] | None) -> Comparison:
    """`data`: of both; None if one of them is not known."""
    return Comparison(
        before=before,
        after=after,
        tasks=_tasks(*data) if data else None,
        labels=_differing(*(one.labels for one in data)) if data else {},
        settings=_differing(*(_part(one, "settings") for one in (before, after))),
        training=_differing(_training(before), _training(after)),
        packages=_differing(*(_part(one, "packages") for one in (before, after))),
        shown=_differing(*(_shown(one) for one in (before, after))),
        metrics=_both(before.metrics, after.metrics),
    )


def _tasks(before: Data, after: Data) -> Tasks:
    both = sorted(before.tasks.keys() & after.tasks.keys())
    changed = tuple(task for task in both if before.tasks[task] != after.tasks[task])
    return Tasks(
        added=tuple(sorted(after.tasks.keys() - before.tasks.keys())),
        removed=tuple(sorted(before.tasks.keys() - after.tasks.keys())),
        changed=changed,
        new_images=tuple(task for task in changed if before.images[task] != after.images[task]),
        same_val=before.val == after.val and not before.val.intersection(changed),
    )


def _training(manifest: Manifest) -> dict[str, Any]:
    lineage = manifest.lineage
    names = ("base", "base_sha256", "mean_with", "border", "epochs", "passes", "batch")
    found = {name: lineage.get(name) for name in names}
    for part, called in (("images", "images"), ("things", "objects")):
        found |= {
            f"{called} of {name}": number for name, number in _part(manifest, part).items() if name != "foreign_labels"
        }
    told = {f"ultralytics {name}": value for name, value in _part(manifest, "ultralytics").items()}
    tiles = {"tiles": manifest.tiling.said if manifest.tiling else None}
    return {"yolo task": manifest.yolo_task, "labels": list(manifest.labels)} | found | tiles | told


def _part(manifest: Manifest, name: str) -> dict[str, Any]:
    found = manifest.lineage.get(name)
    return dict(found) if isinstance(found, dict) else {}


def _shown(manifest: Manifest) -> dict[str, Any]:
    return {label: shown.model_dump() for label, shown in manifest.shown.items()}


def _both(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Two]:
    return {name: (before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Two]:
    return {name: two for name, two in _both(before, after).items() if two[0] != two[1]}
