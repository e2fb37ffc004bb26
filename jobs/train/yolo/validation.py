"""Measures weights on the val set with ultralytics' validators, recording an Outcome for each image.

The validators read images and labels, and compute the overlap of boxes, masks or poses. The model is run as predict
runs it: the same head, the same suppression, one class for each box.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jobs.train.evidence import Classified, Found, Outcome
from jobs.train.training import Measured, TrainingSettings, task_image_size
from jobs.train.yolo.arguments import measured
from shared.geometry.detections import Ints
from shared.labelstudio.class_labels import class_labels, point_labels
from shared.labelstudio.controls import Control

MIN_CONFIDENCE = 0.001
"""Objects with less confidence are ignored. Lower than predict's thresholds, because mAP needs the whole curve."""


@dataclass(slots=True)
class Watched:
    """What a validator adds to while it runs."""

    outcomes: list[Outcome] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of the images of a classifier's val set, in order
    probabilities: list[Any] = field(default_factory=list)  # (C,) of each


def measure(
    model: Any,
    data: Path,
    control: Control,
    settings: TrainingSettings,
    *,
    trained: bool,
    points: Sequence[str],
    **how: Any,
) -> Measured:
    """Measure ultralytics' `model` on the val set of `data` (a data.yaml), run as predict runs it.

    `trained`: a version of this project. `points`: names of the keypoints that are compared. `how`: more arguments of
    ultralytics' `val`. Raises ModelError.
    """
    described = json.loads(data.read_text(encoding="utf-8"))
    names: list[str] = described["names"]
    class_of = _class_of([str(model.names[index]) for index in range(len(model.names))], names, control, trained)
    known = tuple(sorted(set(class_of.tolist()) - {-1}))
    if model.task == "classify":
        return _classified(model, data, names, class_of, known, how | {"imgsz": _served_size(model, settings, trained)})
    arrangement = None
    if model.task == "pose":
        held = described["kpt_names"]["0"]
        arrangement = _arrangement(model, held, control, trained, [held.index(name) for name in points])
    watched = Watched()
    model.val(
        validator=_watching(model.task_map[model.task]["validator"], watched, class_of, arrangement),
        data=str(data.resolve()),
        imgsz=_served_size(model, settings, trained),
        conf=MIN_CONFIDENCE,
        **measured(settings),
        **how,
    )
    return Measured(Found(watched.outcomes, range(len(names))), known, max_objects=settings.max_objects)


def _classified(
    model: Any, data: Path, names: Sequence[str], class_of: Ints, known: tuple[int, ...], how: dict[str, Any]
) -> Measured:
    """Of a classifier. An image is in the folder of each of its classes, which end with their index (ClassFolders)."""
    watched = Watched()
    model.val(validator=_watching_classes(watched), data=str(data.parent.resolve()), **how)
    images: dict[str, tuple[set[int], int]] = {}
    for path, probabilities in zip(watched.names, watched.probabilities, strict=True):
        true, _ = images.setdefault(Path(path).stem, (set(), int(class_of[int(probabilities.argmax())])))
        true.add(int(Path(path).parent.name[-6:]))
    truth = np.zeros((len(images), len(names)), dtype=np.bool_)
    for row, (true, _) in zip(truth, images.values(), strict=True):
        row[list(true)] = True
    guessed = np.array([guess for _, guess in images.values()], dtype=np.int64)
    return Measured(Classified([task_of(image) for image in images], truth, guessed, range(len(names))), known)


def _class_of(held: Sequence[str], names: Sequence[str], control: Control, trained: bool) -> Ints:
    """(model's classes,) index of the dataset's class for each, −1 for none."""
    if trained:
        labels: Sequence[str | None] = [name if name in names else None for name in held]
    else:
        labels = class_labels(held, control, trained=False)
    return np.array([-1 if label is None else names.index(label) for label in labels], dtype=np.int64)


def _served_size(model: Any, settings: TrainingSettings, trained: bool) -> int:
    """Image size in pixels; versions and classifiers store theirs, as in functions/predict/model/loader.py."""
    own = model.overrides.get("imgsz")
    if not own or not (trained or model.task == "classify"):
        own = task_image_size(model.task, settings.image_size)
    return int(max(own) if isinstance(own, list | tuple) else own)


@dataclass(frozen=True, slots=True)
class Points:
    """How a model's keypoints correspond to the dataset's."""

    place: tuple[int, ...]  # for each point of the model its index in the dataset, −1 for none
    count: int  # points of the dataset
    shared: tuple[int, ...]  # indices in the dataset of the points that are compared


def task_of(image: str) -> str:
    """The id of the task of an image file: `12` of `12.jpg` and of `12-3.jpg` (a crop or a frame)."""
    return Path(image).stem.split("-", 1)[0]


def _arrangement(model: Any, held: Sequence[str], control: Control, trained: bool, compared: Sequence[int]) -> Points:
    """`held`: names of the dataset's points. Points are matched by name, of base weights by `model_index` too."""
    count = int(model.model.kpt_shape[0])
    written = getattr(model.model, "kpt_names", None) or {}
    names = [str(name) for name in written.get(0, ())]
    label = control.class_names[0] if control.class_names else None
    meant = point_labels(names, count, control, str(model.names[0]), label, trained=trained)
    place = tuple(held.index(name) if name in held else -1 for name in meant)
    return Points(place, len(held), tuple(compared))


def _watching(base: Any, watched: Watched, class_of: Ints, points: Points | None) -> Any:
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator

    class Watching(base):  # type: ignore[misc]
        _alike: Any = None

        @staticmethod
        def _check_max_det(*_: Any) -> None:
            """Ultralytics would raise `max_det` to the largest number of objects; predict does not."""

        def postprocess(self, preds: Any) -> Any:
            if not self.end2end:
                _one_class_a_box(preds, self.nc)
            if points is None:
                found = super().postprocess(preds)
            else:
                found = DetectionValidator.postprocess(self, preds)
                for one in found:
                    one["keypoints"] = _rearranged(one.pop("extra"), points)
            table = torch.as_tensor(class_of, device=self.device)
            for one in found:
                classes = table[one["cls"].long()]
                for key in one:
                    one[key] = one[key][classes >= 0]
                one["cls"] = classes[classes >= 0].to(one["conf"].dtype)
            return found

        def _prepare_batch(self, si: int, batch: Any) -> Any:
            prepared = super()._prepare_batch(si, batch)
            if points is not None:
                unknown = [place for place in range(points.count) if place not in points.shared]
                prepared["keypoints"][:, unknown, 2] = 0.0
            return prepared

        def match_predictions(self, pred_classes: Any, true_classes: Any, iou: Any, use_scipy: bool = False) -> Any:
            self._alike = iou  # called for boxes first, then for masks or points: the last counts
            return super().match_predictions(pred_classes, true_classes, iou, use_scipy)

        def _process_batch(self, preds: Any, batch: Any) -> Any:
            self._alike = None
            matched = super()._process_batch(preds, batch)
            truth, found = _ints(batch["cls"]), _ints(preds["cls"])
            alike = np.zeros((len(truth), len(found))) if self._alike is None else _floats(self._alike)
            outcome = Outcome(
                task_of(batch["im_file"]), truth, found, _floats(preds["conf"]), alike, _floats(preds["bboxes"])
            )
            watched.outcomes.append(outcome)
            return matched

        def get_stats(self) -> dict[str, Any]:
            return {}  # metrics are computed by `jobs.train.evidence`

        def print_results(self) -> None:
            """Print nothing."""

    return Watching


def _watching_classes(watched: Watched) -> Any:
    from ultralytics.data import build_dataloader
    from ultralytics.models.yolo.classify import ClassificationValidator

    base: Any = ClassificationValidator

    class Watching(base):  # type: ignore[misc]
        def get_dataloader(self, dataset_path: Any, batch_size: int) -> Any:
            dataset = self.build_dataset(dataset_path)
            watched.names = [sample[0] for sample in dataset.samples]
            return build_dataloader(  # ultralytics would shuffle the samples
                dataset, batch_size, self.args.workers, shuffle=False, rank=-1, device=self.device
            )

        def update_metrics(self, preds: Any, batch: Any) -> None:
            super().update_metrics(preds, batch)
            watched.probabilities += list(_floats(preds))

        def get_stats(self) -> dict[str, float]:
            return {}

        def print_results(self) -> None:
            """Print nothing."""

    return Watching


def _one_class_a_box(preds: Any, classes: int) -> None:
    """Set all class scores but the highest of each box to 0, in place: suppression would else answer a box for each."""
    while isinstance(preds, list | tuple):
        preds = preds[0]
    scores = preds[:, 4 : 4 + classes]
    scores.mul_(scores == scores.amax(dim=1, keepdim=True))


def _rearranged(extra: Any, points: Points) -> Any:
    """(N, model's points × 2 or 3) → (N, dataset's points, 3); zeros for points that the model lacks."""
    import torch

    held = extra.view(len(extra), len(points.place), -1)
    table = torch.zeros((len(extra), points.count, 3), dtype=extra.dtype, device=extra.device)
    for number, place in enumerate(points.place):
        if place >= 0:
            table[:, place, : held.shape[2]] = held[:, number]
    return table


def _floats(tensor: Any) -> Any:
    return tensor.float().cpu().numpy().astype(np.float64)


def _ints(tensor: Any) -> Ints:
    return tensor.cpu().numpy().astype(np.int64)  # type: ignore[no-any-return]
