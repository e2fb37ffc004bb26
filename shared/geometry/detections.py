"""Detections, the one value between models, regions and datasets, and boxes between Label Studio and YOLO. Pure.

Label Studio: percent (0–100) of the *displayed* (EXIF-upright) image, top-left corner and size, `rotation` in
degrees clockwise around that corner, in pixel space. YOLO: centre and size as fractions (0–1) of the image.
Between them: `xyxy`, corners in pixels of the upright image, where (0, 0) is the corner of the first pixel.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FAR = 1e9
"""Pixels, percent, degrees or frames: no number that a person drew or a model found. NaN is not below it either."""
Outline = tuple[Floats, ...]
"""Closed rings, each (K, 2) pixels. A point is inside if it is inside an odd number of them: parts and holes alike."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What a model found, or a person annotated, in one image: N objects. The one value between models and regions.

    Boxes are always there; of the rest, what the YOLO task or the control knows. A classified image is one object whose
    box is the whole image.
    """

    width: int  # pixels of the upright image
    height: int
    xyxy: Floats  # (N, 4) pixels, upright boxes around the objects
    scores: Floats  # (N,) 0–1; 1 for annotations
    classes: Ints  # (N,) index into names
    names: tuple[str, ...]  # class index → name, as the model knows it; of annotations the label
    rotated: Floats | None = None  # (N, 5) centre x, y, width, height in pixels, radians clockwise (ultralytics' xywhr)
    outlines: tuple[Outline, ...] | None = None  # N of them
    keypoints: Floats | None = None  # (N, K, 3) x, y in pixels, confidence 0–1; (0, 0, 0) where a point is missing
    point_names: tuple[str, ...] = ()  # keypoint index → name, as the model knows it; of annotations the label
    class_scores: Floats | None = None  # (N, C) 0–1
    tracks: Ints | None = None  # (N,) the same number for the same object in other frames of a video

    @classmethod
    def annotated(
        cls, width: int, height: int, xyxy: ArrayLike, classes: ArrayLike, names: tuple[str, ...], **more: Any
    ) -> "Detections":
        """What a person drew or chose, of which nothing is unsure. Boxes and classes also as lists; `more`: fields."""
        indices = np.asarray(classes, dtype=np.int64)
        boxes = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        return cls(width, height, boxes, np.ones(len(indices)), indices, names, **more)

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, which: NDArray[np.bool_] | Ints) -> "Detections":
        """Some of the objects, by (N,) truth values or (M,) indices."""
        order = np.arange(len(self))[which]
        rows = {
            name: value[order]
            for name in ("xyxy", "scores", "classes", "rotated", "keypoints", "class_scores", "tracks")
            if (value := getattr(self, name)) is not None
        }
        outlines = None if self.outlines is None else tuple(self.outlines[index] for index in order)
        return replace(self, **rows, outlines=outlines)


def xyxy_to_percent(xyxy: Floats, width: int, height: int) -> Floats:
    """(N, 4) pixel corners → (N, 4) Label Studio x, y, width, height in percent, clipped to the image."""
    clipped = clip_xyxy(xyxy, width, height)
    size = np.array([width, height], dtype=np.float64)
    return np.hstack([clipped[:, :2] / size, (clipped[:, 2:] - clipped[:, :2]) / size]) * 100.0


def percent_to_xyxy(xywh: Floats, width: int, height: int) -> Floats:
    """(N, 4) Label Studio x, y, width, height in percent → (N, 4) pixel corners, not clipped."""
    corners = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    return corners / 100.0 * np.array([width, height, width, height], dtype=np.float64)


def rotated_corners(xyxy: Floats, degrees: Floats) -> Floats:
    """(N, 4) unrotated pixel corners, (N,) degrees clockwise → (N, 4, 2) corners turned around the top-left one.

    Label Studio turns a rectangle around its top-left corner in pixel space.
    """
    sides = axes_of(np.deg2rad(degrees)) * (xyxy[:, 2:] - xyxy[:, :2])[:, :, None]
    corner, across, down = xyxy[:, :2], sides[:, 0], sides[:, 1]
    return np.stack([corner, corner + across, corner + across + down, corner + down], axis=1)


def axes_of(radians: Floats) -> Floats:
    """(N,) radians → (N, 2, 2) what is turned by them: unit vectors along its width, and along its height.

    y grows downwards, so a positive angle is clockwise on the screen.
    """
    cos, sin = np.cos(radians), np.sin(radians)
    return np.stack([np.stack([cos, sin], axis=1), np.stack([-sin, cos], axis=1)], axis=1)


def xywhr_to_corners(rotated: Floats) -> Floats:
    """(N, 5) centre x, y, width, height, radians clockwise → (N, 4, 2) corners, clockwise, top left first."""
    halves = axes_of(rotated[:, 4]) * rotated[:, 2:4, None] / 2
    centre, across, down = rotated[:, :2], halves[:, 0], halves[:, 1]
    return np.stack([centre - across - down, centre + across - down, centre + across + down, centre - across + down], 1)


def corners_to_xywhr(corners: Floats) -> Floats:
    """(4, 2) corners of a rectangle, one after the other → (5,) centre x, y, width, height, radians clockwise."""
    across, down = corners[1] - corners[0], corners[3] - corners[0]
    angle = np.arctan2(across[1], across[0])
    return np.array([*corners.mean(axis=0), np.hypot(*across), np.hypot(*down), angle])


def clip_rotated(rotated: Floats, width: int, height: int) -> Floats:
    """(N, 5) xywhr → (N, 5) the smallest boxes turned alike around what of them is in the image; of size 0 if nothing.

    The corners of what is visible are those of the box in the image, those of the image in the box, and where their
    sides cross.
    """
    size = np.array([width, height], dtype=np.float64)
    slack = 1e-9 * size.max()
    centre, half = rotated[:, None, :2], rotated[:, None, 2:4] / 2
    axes = axes_of(rotated[:, 4]).swapaxes(1, 2)  # columns: along its width, its height
    corners = xywhr_to_corners(rotated)
    sides = np.roll(corners, -1, axis=1) - corners
    with np.errstate(divide="ignore", invalid="ignore"):  # sides along a border
        share = (np.stack([0 * size, size]) - corners[:, :, None]) / sides[:, :, None]  # (N, 4, 2 borders, 2 axes)
        crossings = corners[:, :, None, None] + sides[:, :, None, None] * share[..., None]
    points = np.concatenate([corners, crossings.reshape(-1, 16, 2)], axis=1)
    seen = ((points >= -slack) & (points <= size + slack)).all(axis=2)
    seen[:, 4:] &= ((share >= 0) & (share <= 1)).reshape(-1, 16)
    points[~seen] = 0.0  # some are no numbers
    frame = np.array([(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)])
    along = np.concatenate([points - centre, frame - centre], axis=1) @ axes
    seen = np.concatenate([seen, (np.abs(along[:, 20:]) <= half + slack).all(axis=2)], axis=1)[..., None]
    least, most = np.where(seen, along, np.inf).min(axis=1), np.where(seen, along, -np.inf).max(axis=1)
    least, most = np.where(seen.any(axis=1), (least, most), 0.0)
    middle = rotated[:, :2] + np.einsum("nij,nj->ni", axes, (least + most) / 2)
    return np.hstack([middle, most - least, rotated[:, 4:]])


def envelope(corners: Floats) -> Floats:
    """(N, K, 2) points → (N, 4) pixel corners of the smallest upright box around each row."""
    return np.hstack([corners.min(axis=1), corners.max(axis=1)])


def clip_xyxy(xyxy: Floats, width: int, height: int) -> Floats:
    """(N, 4) pixel corners cut at the border of the image."""
    return np.clip(xyxy, 0.0, np.array([width, height, width, height], dtype=np.float64))


def xyxy_to_xywhn(xyxy: Floats, width: int, height: int) -> Floats:
    """(N, 4) pixel corners → (N, 4) YOLO centre x, centre y, width, height as fractions."""
    size = np.array([width, height], dtype=np.float64)
    return np.hstack([(xyxy[:, :2] + xyxy[:, 2:]) / 2 / size, (xyxy[:, 2:] - xyxy[:, :2]) / size])


def xywhn_to_xyxy(xywhn: Floats, width: int, height: int) -> Floats:
    """(N, 4) YOLO centre x, centre y, width, height as fractions → (N, 4) pixel corners."""
    size = np.array([width, height], dtype=np.float64)
    half = xywhn[:, 2:] / 2
    return np.hstack([(xywhn[:, :2] - half) * size, (xywhn[:, :2] + half) * size])
