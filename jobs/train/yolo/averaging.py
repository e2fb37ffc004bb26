"""The mean of the weights of two models, one of which was trained from the other."""

from pathlib import Path
from typing import Any

from jobs.train.yolo.weights import open_weights


def mean_of(start: Path, trained: Path, path: Path) -> Path | None:
    """Write the mean of both to `path`, statistics of batch normalization included; the rest is `trained`'s.

    None if their classes, or the shapes of their tensors, are not the same.
    """
    ours: Any = open_weights(trained)
    before: Any = open_weights(start).model
    then, now = (model.float().state_dict() for model in (before, ours.model))
    if before.names != ours.model.names or _shapes(then) != _shapes(now):
        return None
    ours.model.load_state_dict(
        {name: (then[name] + tensor) / 2 if tensor.is_floating_point() else tensor for name, tensor in now.items()}
    )
    ours.save(path)
    return path


def _shapes(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in tensors.items()}
