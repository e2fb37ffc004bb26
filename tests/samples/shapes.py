"""Shapes for tests: drawn, compared, and YOLO label lines read back by ultralytics itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from shared.geometry.detections import Detections, Outline, envelope
from shared.geometry.outlines import mask_to_outline, outline_to_runs
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.brush_rle import encode_runs
from shared.yolo_task import YoloTask

Mask = NDArray[np.bool_]

CONTROLS = {
    "rectangle": '<RectangleLabels name="c" toName="i">{}</RectangleLabels>',
    "rectangle beside labels": '<Rectangle name="c" toName="i"/><Labels name="l" toName="i">{}</Labels>',
    "rotated rectangle": '<RectangleLabels name="c" toName="i" model_obb="true">{}</RectangleLabels>',
    "polygon": '<PolygonLabels name="c" toName="i">{}</PolygonLabels>',
    "polygon beside labels": '<Polygon name="c" toName="i"/><Labels name="l" toName="i">{}</Labels>',
    "brush": '<BrushLabels name="c" toName="i">{}</BrushLabels>',
    "brush beside labels": '<Brush name="c" toName="i"/><Labels name="l" toName="i">{}</Labels>',
    "ellipse": '<EllipseLabels name="c" toName="i">{}</EllipseLabels>',
    "ellipse of a box": '<EllipseLabels name="c" toName="i" model_task="detect">{}</EllipseLabels>',
    "ellipse beside labels": '<Ellipse name="c" toName="i"/><Labels name="l" toName="i">{}</Labels>',
}
LABELS = '<Label value="Tree"/><Label value="Car"/>'


def config_of(kind: str) -> str:
    return f'<View><Image name="i" value="$image"/>{CONTROLS[kind].format(LABELS)}</View>'


def control_of(kind: str) -> Control:
    (control,) = parse_label_config(config_of(kind))
    return control


def region(control: Control, labels: Sequence[str] = ("Tree",), *, id: str = "r", **value: Any) -> list[dict[str, Any]]:
    """As Label Studio's page writes it, in an image of 200 × 100 pixels."""
    kind = control.tag.lower()
    size = {"original_width": 200, "original_height": 100}
    shape = {"id": id, "from_name": control.name, "to_name": "i", "type": kind, "value": value} | size
    if not control.labels_name:
        return [shape | {"value": value | {kind: list(labels)}}]
    named = shape | {"from_name": control.labels_name, "type": "labels", "value": value | {"labels": list(labels)}}
    return [shape | {"type": kind.removesuffix("labels")}, named]


def painted(outline: Outline, width: int, height: int) -> Mask:
    begin, end = outline_to_runs(outline, width, height)
    change = np.zeros(width * height + 1, dtype=np.int64)
    change[begin] += 1
    change[end] -= 1
    return np.cumsum(change)[:-1].reshape(height, width) > 0


def rle(mask: Mask) -> list[int]:
    """As Label Studio stores a brush."""
    height, width = mask.shape
    return encode_runs(*outline_to_runs(mask_to_outline(mask), width, height), width * height)


def iou(one: Mask, other: Mask) -> float:
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


@st.composite
def blobs(draw: st.DrawFn, width: int, height: int) -> Mask:
    """Round objects with bays and sometimes a hole, of at least a tenth of the image's sides, also over its border."""
    phases = draw(st.tuples(*[st.floats(0, 6)] * 3))
    swing = draw(st.floats(0, 0.15))
    radius = np.array([width, height]) * draw(st.floats(0.1, 0.4))
    centre = np.array([width, height]) * draw(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)))
    y, x = np.mgrid[0:height, 0:width] + 0.5
    across, down = (x - centre[0]) / radius[0], (y - centre[1]) / radius[1]
    angle, distance = np.arctan2(down, across), np.hypot(across, down)
    border = 1 + swing * sum(np.sin(waves * angle + phase) for waves, phase in zip((2, 3, 5), phases, strict=True))
    hole = draw(st.sampled_from([0.0, 0.3, 0.4]))
    mask: Mask = (distance < border) & (distance >= hole)
    return mask


def taken_by_ultralytics(line: str, yolo_task: YoloTask) -> bool:
    """Whether it trains on an image with this line: of corners the middle and size of the envelope count."""
    numbers = np.array([float(word) for word in line.split()[1:]])
    if yolo_task == "obb":
        low, high = numbers.reshape(4, 2).min(axis=0), numbers.reshape(4, 2).max(axis=0)
        numbers = np.concatenate([(low + high) / 2, high - low])
    return bool(((numbers >= -1e-6) & (numbers <= (2 if yolo_task == "pose" else 1 + 1e-6))).all())


def read_label_lines(
    lines: Sequence[str], width: int, height: int, control: Control, folder: Path, yolo_task: YoloTask | None = None
) -> Detections:
    """Through ultralytics' own reader, which refuses what it could not train on."""
    from ultralytics.data.utils import verify_image_label
    from ultralytics.utils.ops import xywh2xyxy, xywhr2xyxyxyxy, xyxyxyxy2xywhr

    task = yolo_task or control.yolo_task
    image, labels = folder / f"{width}x{height}.png", folder / "labels.txt"
    if not image.exists():
        Image.new("L", (width, height)).save(image)
    labels.write_text("".join(lines))
    count = len(control.labels)
    _, rows, shape, segments, *_, corrupt, problem = verify_image_label(
        (str(image), str(labels), "", False, count, 0, 0, False)
    )
    assert not corrupt, problem
    assert shape == (height, width)
    size = np.array([width, height], dtype=np.float64)
    rings = [segment.astype(np.float64) * size for segment in segments]
    xyxy = xywh2xyxy(rows[:, 1:].astype(np.float64)) * np.tile(size, 2)
    rotated = None
    if task == "obb":
        rotated = np.array([xyxyxyxy2xywhr(ring[None])[0] for ring in rings]).reshape(-1, 5)
        xyxy = envelope(xywhr2xyxyxyxy(rotated)) if len(rotated) else xyxy
    return Detections(
        width=width,
        height=height,
        xyxy=xyxy,
        scores=np.ones(len(rows)),
        classes=rows[:, 0].astype(np.int64),
        names=control.label_values,
        rotated=rotated,
        outlines=tuple((ring,) for ring in rings) if task == "segment" else None,
    )
