"""Whether a graph finds what the weights find that it was made of.

First what both answer is compared, number by number, on some pictures: that is cheap, and an mAP would jump where
rounding decides which of two boxes with equal scores comes first. Only where more than rounding differs it is the score
on the whole val set that counts.
"""

import math
from collections.abc import Sequence
from importlib.metadata import version as package_version
from pathlib import Path

import numpy as np

from jobs.train.evidence import Classified, Evidence, ones
from jobs.train.yolo.val_set import picture_of
from shared.errors import ModelError
from shared.inference.looks import looks_at
from shared.inference.network import Network
from shared.media.fit import Sized

_PICTURES = 16
"""At most: each is run twice. A graph that was traced wrongly is wrong on any."""
_ROUNDING = 1e-4
"""By which a number of the output may differ, as a share of the largest of its kind, or of 1. Rounding of float32 is
5e-6. A box of 30 pixels in a picture of 640 is off by 0.06 pixels then, which moves no mAP50-95 by 0.005."""
_TOLERANCE = 0.005
"""By which scores may differ."""


def answer_alike(graph: Network, weights: Network, pictures: Sequence[Path]) -> bool:
    """Whether both answer the same but for rounding. Each picture is shown as predict shows it."""
    shown = pictures[:: -(-len(pictures) // _PICTURES)] if pictures else ()
    return all(_difference(graph, weights, picture) <= _ROUNDING for picture in shown)


def require_same_answers(graph: Network, weights: Network, pictures: Sequence[Path]) -> None:
    """Raises ModelError if both do not answer the same: where there is no val set to measure what it costs."""
    if not answer_alike(graph, weights, pictures):
        raise ModelError(
            "the graph of the weights does not answer as they do, so nothing is published: on photographs their "
            f"numbers differ by more than rounding; try other releases of the packages that made it ({_releases()})"
        )


def require_same_score(graph: Evidence, weights: Evidence) -> None:
    """Raises ModelError if the scores of both on the val set differ."""
    (name, ours), (_, theirs) = _score(graph), _score(weights)
    if math.isnan(ours) and math.isnan(theirs):
        return
    if not abs(ours - theirs) <= _TOLERANCE:  # also where one is no number
        raise ModelError(
            f"the graph of the trained weights does not find what they find, so nothing is published: on the val set "
            f"its {name} is {ours:.4f}, that of the weights {theirs:.4f}, and {_TOLERANCE:g} is tolerated; "
            f"try other releases of the packages that made it ({_releases()})"
        )


def _difference(graph: Network, weights: Network, picture: Path) -> float:
    """NaN if one answers what is no number."""
    batch = graph.fit(*_shown(graph, picture))[None]
    worst = 0.0
    for ours, theirs in zip(graph.engine.run(batch), weights.engine.run(batch), strict=True):
        axes = tuple(axis for axis in range(theirs.ndim) if axis != 1)
        size = np.maximum(np.abs(theirs).max(axis=axes, keepdims=True), 1)
        worst = float(np.maximum(worst, (np.abs(ours - theirs) / size).max()))
    return worst


def _shown(graph: Network, picture: Path) -> Sized:
    """What one call of a network is about: a picture, or of one that is cut the tile in its middle."""
    image, size = shown = picture_of(picture, graph.needs)
    if graph.tiling is None or not graph.tiling.cuts(size[1], size[0]):
        return shown
    looks = looks_at((image.shape[0], image.shape[1]), size, graph.tiling)
    look = looks[len(looks) // 2]
    return Sized(look.of(image), look.size)


def _releases() -> str:
    return ", ".join(f"{package} {package_version(package)}" for package in ("torch", "ultralytics", "onnx"))


def _score(evidence: Evidence) -> tuple[str, float]:
    if isinstance(evidence, Classified):
        return "top1", evidence.accuracy()
    return "mAP50-95", float(evidence.score(ones(evidence))[0])
