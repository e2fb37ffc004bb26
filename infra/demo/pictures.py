"""Draws the demo's pictures: the true objects and the predictions before and after training, side by side."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from infra.demo.samples import Sample
from shared.geometry.detections import Detections, Floats, xywhr_to_corners

_WIDTH = 400  # pixels of a panel, at least
_GAP = 8
_CAPTION = 18
_CAPTIONS = ("annotation", "before training", "after training")
_COLORS = ("#3ddc84", "#ffb300", "#29b6f6")
_KINDS = ("#3ddc84", "#ff6ad5", "#29b6f6", "#ffb300")  # of keypoints

Frames = Sequence[Detections]


def draw(folder: Path, samples: Sequence[Sample], before: Sequence[Frames], after: Sequence[Frames]) -> Path:
    """Write `sample-<name>.png` for each sample and `overview.png` to `folder`; of videos the middle frame."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for sample, *found in zip(samples, before, after, strict=True):
        middle = len(sample.expert) // 2
        row = _row(sample.name, _picture(sample, middle), [frames[middle] for frames in (sample.expert, *found)])
        row.save(folder / f"sample-{sample.name}.png")
        rows.append(row)
    overview = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        overview.paste(row, (0, top))
        top += row.height
    overview.save(folder / "overview.png")
    return folder


def draw_row(path: Path, sample: Sample, panels: Sequence[Detections], captions: Sequence[str]) -> Path:
    """Write a picture with what is found in it, once for each of three panels, of which the first is the truth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _row(sample.name, _picture(sample, 0), list(panels), captions).save(path)
    return path


def _picture(sample: Sample, frame: int) -> Image.Image:
    if sample.suffix in (".jpg", ".png"):
        return Image.open(io.BytesIO(sample.data)).convert("RGB")
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"video{sample.suffix}"
        path.write_bytes(sample.data)
        video = cv2.VideoCapture(str(path))
        for _ in range(frame + 1):
            _, pixels = video.read()
        video.release()
    return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _row(name: str, picture: Image.Image, panels: list[Detections], captions: Sequence[str] = _CAPTIONS) -> Image.Image:
    """The image once for each panel, with captions."""
    scale = max(round(_WIDTH / picture.width), 1)
    image = picture.resize((picture.width * scale, picture.height * scale))
    row = Image.new("RGB", (len(panels) * (image.width + _GAP) - _GAP, image.height + _CAPTION + _GAP), "white")
    for number, (found, caption, color) in enumerate(zip(panels, captions, _COLORS, strict=True)):
        left = number * (image.width + _GAP)
        panel = image.copy()
        said = _mark(ImageDraw.Draw(panel), found, scale, color)
        row.paste(panel, (left, _CAPTION))
        ImageDraw.Draw(row).text((left + 2, 3), f"{name}, {caption}: {said}", fill="black")
    return row


def _mark(pen: ImageDraw.ImageDraw, found: Detections, scale: int, color: str) -> str:
    """Draw the shape of each object (outline, rotated box or box; keypoints); answers the end of the caption."""
    if found.class_scores is not None:
        scores = zip(found.names, found.class_scores.max(axis=0, initial=0.0), strict=True)
        return ", ".join(name for name, score in scores if score > 0) or "nothing"
    for index in range(len(found)):
        for ring in _rings(found, index):
            points = [tuple(point) for point in (ring * scale).tolist()]
            pen.line([*points, points[0]], fill=color, width=2)
        for point, dot in zip(_points(found, index).tolist(), _KINDS * len(_points(found, index)), strict=False):
            if point[2] > 0:
                x, y = point[0] * scale, point[1] * scale
                pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=dot, outline="black")
    return f"{len(found)} found" if color != _COLORS[0] else f"{len(found)}"


def _rings(found: Detections, index: int) -> Sequence[Floats]:
    if found.outlines is not None and found.outlines[index]:
        return found.outlines[index]
    if found.rotated is not None and found.keypoints is None:
        return [xywhr_to_corners(found.rotated[[index]])[0]]
    x1, y1, x2, y2 = found.xyxy[index].tolist()
    return [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])]


def _points(found: Detections, index: int) -> Floats:
    return np.zeros((0, 3)) if found.keypoints is None else found.keypoints[index]
