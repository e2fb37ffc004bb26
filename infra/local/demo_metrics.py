"""How good the boxes in Label Studio are against the expert's: ultralytics' metrics, and an annotator's work."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from shared.geometry import Floats

GOOD_ENOUGH = 0.5
"""A box that overlaps its tree by this much (IoU) is left as it is: the measure of precision, recall and mAP50, too."""
SAME_TREE = 0.3
"""A box that overlaps a tree by less means something else."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """One image: what a model found and what the expert drew. Labels do not count here: there is only one."""

    name: str
    found: Floats  # (N, 4) pixel corners
    scores: Floats  # (N,) 0–1
    expert: Floats  # (M, 4) pixel corners


@dataclass(frozen=True, slots=True)
class Quality:
    """Precision, recall and mAP as ultralytics' validator computes them; the rest is boxes an image, on average."""

    precision: float
    recall: float
    map50: float
    map50_95: float
    add: float
    move: float
    delete: float

    def as_json(self) -> dict[str, float]:
        """For the report, four digits."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def measure(images: Sequence[Boxes]) -> Quality:
    """Compare all images at once."""
    precision, recall, map50, map50_95 = _validate(images)
    work = np.mean([annotators_work(image) for image in images], axis=0)
    return Quality(precision, recall, map50, map50_95, *(float(value) for value in work))


def annotators_work(image: Boxes) -> tuple[int, int, int]:
    """How many boxes of one image a person would have to add, move and delete to get the expert's.

    Boxes and trees are paired greedily, greatest IoU first, one to one, while it is at least SAME_TREE: a pair below
    GOOD_ENOUGH is moved, a tree without box is added, a box without tree is deleted.
    """
    overlaps = iou(image.expert, image.found)
    moved = paired = 0
    while overlaps.size and (best := float(overlaps.max())) >= SAME_TREE:
        tree, box = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[tree, :] = overlaps[:, box] = -1.0
        paired += 1
        moved += best < GOOD_ENOUGH
    return len(image.expert) - paired, moved, len(image.found) - paired


def iou(first: Floats, second: Floats) -> Floats:
    """(N, 4) and (M, 4) pixel corners → (N, M) intersection over union."""
    import torch
    from ultralytics.utils.metrics import box_iou

    overlaps: Floats = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy().astype(np.float64)
    return overlaps


def _validate(images: Sequence[Boxes]) -> tuple[float, float, float, float]:
    """Precision and recall (where F1 is best), mAP50 and mAP50-95, by the same code that validates in training."""
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator

    with tempfile.TemporaryDirectory() as folder:
        validator = DetectionValidator(save_dir=Path(folder))
    for image in images:
        order = np.argsort(-image.scores, kind="stable")
        found, trees = len(image.found), np.zeros(len(image.expert))
        overlaps = torch.from_numpy(iou(image.expert, image.found[order]))
        matches = validator.match_predictions(torch.zeros(found), torch.from_numpy(trees), overlaps)
        validator.metrics.update_stats(
            {
                "tp": matches.numpy(),
                "conf": image.scores[order],
                "pred_cls": np.zeros(found),
                "target_cls": trees,
                "target_img": np.unique(trees),
                "im_name": image.name,
            }
        )
    validator.metrics.process()
    precision, recall, map50, map50_95 = (float(value) for value in validator.metrics.mean_results())
    return precision, recall, map50, map50_95
