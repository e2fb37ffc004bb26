"""Changes a model's classes to the project's labels before training, keeping what it knows of labels by name."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_SIDE = 640  # pixels; with _OBJECTS: ultralytics' constants for the first biases of a head
_OBJECTS = 5  # expected in an image of that size


def sources(
    labels: Sequence[str], held: Sequence[str], predicted_values: Mapping[str, Sequence[str]]
) -> tuple[int | None, ...]:
    """For each label the index in `held` (the weights' classes) of the class to start from; None for a new one.

    That is the class of the same name (upper and lower case differ), else the first of its `predicted_values` that is a
    class and no label.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(held):
        places.setdefault(name, place)
    free = {name: place for name, place in places.items() if name not in set(labels)}
    found = []
    for label in labels:
        named = (free[value] for value in predicted_values.get(label, ()) if value in free)
        found.append(places[label] if label in places else next(named, None))
    return tuple(found)


def with_classes_of(
    model: Any, labels: Sequence[str], predicted_values: Mapping[str, Sequence[str]], path: Path
) -> Path | None:
    """Write a copy of the weights whose classes are these labels to `path`; None if their classes are these already.

    `model`: ultralytics' YOLO, changed in place. Rows of the head's last layers are taken over by `sources`; the others
    are new. ultralytics itself would ignore upper and lower case, and keep the weights' order if no name matches.
    """
    held = [str(model.model.names[index]) for index in range(len(model.model.names))]
    if held == list(labels):
        return None
    rows = sources(labels, held, predicted_values)
    network = model.model.float()
    head = network.model[-1]
    for layers, last, stride in list(_last_layers(head, len(held))):
        layers[last] = _renewed(layers[last], rows, stride)
    head.nc = len(labels)
    if hasattr(head, "reg_max"):
        head.no = head.nc + 4 * head.reg_max
    network.yaml["nc"] = network.nc = len(labels)
    network.names = dict(enumerate(labels))
    model.save(path)
    return path


def _last_layers(head: Any, classes: int) -> Iterator[tuple[Any, Any, float | None]]:
    """(container, key in it, stride) of each layer with one row for each class; stride: None but for detectors."""
    if hasattr(head, "linear"):  # of a classifier
        yield head._modules, "linear", None
        return
    for branch in ("cv3", "one2one_cv3"):
        for level, layers in enumerate(getattr(head, branch, None) or ()):
            yield layers, -1, float(head.stride[level])
    semantic = getattr(getattr(head, "proto", None), "semseg", None)  # of YOLO26's segmentation
    if semantic is not None and semantic[-1].out_channels == classes:
        yield semantic, -1, None


def _renewed(layer: Any, rows: Sequence[int | None], stride: float | None) -> Any:
    """A layer with these rows of `layer`; None: a row as in an untrained model."""
    import torch

    if hasattr(layer, "out_features"):
        renewed: Any = torch.nn.Linear(layer.in_features, len(rows), bias=layer.bias is not None)
    else:
        renewed = torch.nn.Conv2d(layer.in_channels, len(rows), layer.kernel_size, bias=layer.bias is not None)
    with torch.no_grad():
        if stride is not None and renewed.bias is not None:  # as Detect.bias_init
            renewed.bias[:] = math.log(_OBJECTS / len(rows) / (_SIDE / stride) ** 2)
        for row, source in enumerate(rows):
            if source is not None:
                renewed.weight[row] = layer.weight[source]
                if renewed.bias is not None:
                    renewed.bias[row] = layer.bias[source]
    return renewed
