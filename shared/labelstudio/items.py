"""The result items that Label Studio stores for one region. Imports no numpy: predict's dummy mode uses it too."""

from collections.abc import Mapping
from typing import Any

from shared.labelstudio.controls import Control


def without_labels(value: Mapping[str, Any]) -> dict[str, Any]:
    """The shape that a region's value holds."""
    return {key: each for key, each in value.items() if not key.endswith("labels")}


def result_items(
    value: dict[str, Any], control: Control, region_id: str, label: str | None, score: float, width: int, height: int
) -> list[dict[str, Any]]:
    """The items of one region of an image. `value`: its shape; `width`, `height`: pixels of the upright image.

    A region of `<RectangleLabels>` is one item, with its labels under a key named like the type. A region of
    `<Rectangle>` with `<Labels>` is two items with the same id: the shape, and the same value with its `labels`.

    A region without a label has `rectanglelabels: []`: for `<RectangleLabels>`, Label Studio refuses an item of type
    `rectangle`.
    """
    same = {
        "id": region_id,
        "to_name": control.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": score,
    }
    labels = [label] if label else []
    if not control.labels_name:
        kind = control.tag.lower()
        return [same | {"from_name": control.name, "type": kind, "value": value | {kind: labels}}]
    kind = control.tag.lower().removesuffix("labels")
    shape = same | {"from_name": control.name, "type": kind, "value": value}
    if not labels:
        return [shape]
    return [shape, same | {"from_name": control.labels_name, "type": "labels", "value": value | {"labels": labels}}]
