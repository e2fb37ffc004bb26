"""Detections, the common value of models, regions and datasets, and conversions of boxes. Pure.

Label Studio: percent (0–100) of the *displayed* (EXIF-upright) image, top-left corner and size, `rotation` in
degrees clockwise around that corner, in pixel space. YOLO: centre and size as fractions (0–1) of the image.
Between them: `xyxy`, corners in pixels of the upright image, where (0, 0) is the corner of the first pixel.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FAR = 1e9
"""Limit of plausible coordinates, in pixels, percent, degrees or frames. `abs(x) < FAR` also rejects NaN."""
Outline = tuple[Floats, ...]
"""Closed rings, (K, 2) in pixels, of parts and of holes: a point is inside if an odd number of rings contain it."""


class Masks(Protocol):
    """Masks of N objects, whose outlines are made when somebody needs them: that takes time."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""

    def only(self, which: Ints) -> Self:
        """Those of some of the objects, by (M,) indices."""

    def outlines(self) -> tuple[Outline, ...]:
        """N outlines in pixels of the upright image; empty where a mask is."""


@dataclass(frozen=True, slots=True)
class Detections:
    """N objects in one image, found by a model or annotated by a person.

    Boxes are always set; other fields depend on the YOLO task or the control. A classified image is one object whose
    box is the whole image.
    """

    width: int  # pixels of the upright image
    height: int
    xyxy: Floats  # (N, 4) pixels, upright boxes around the objects
    scores: Floats  # (N,) 0–1; 1 for annotations
    classes: Ints  # (N,) index into names
    names: tuple[str, ...]  # class index → the model's name; for annotations the label
    rotated: Floats | None = None  # (N, 5) centre x, y, width, height in pixels, radians clockwise (ultralytics' xywhr)
    outlines: tuple[Outline, ...] | None = None  # N outlines
    masks: Masks | None = None  # of N objects, which have no outlines yet
    keypoints: Floats | None = None  # (N, K, 3) x, y in pixels, confidence 0–1; (0, 0, 0) where a point is missing
    point_names: tuple[str, ...] = ()  # keypoint index → the model's name; for annotations the label
    class_scores: Floats | None = None  # (N, C) 0–1
    tracks: Ints | None = None  # (N,) a number that an object keeps in all frames of a video

    @classmethod
    def annotated(
        cls, width: int, height: int, xyxy: ArrayLike, classes: ArrayLike, names: tuple[str, ...], **more: Any
    ) -> "Detections":
        """Annotated objects: all scores are 1. `more`: further fields."""
        indices = np.asarray(classes, dtype=np.int64)
        boxes = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
        return cls(width, height, boxes, np.ones(len(indices)), indices, names, **more)

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, which: NDArray[np.bool_] | Ints) -> "Detections":
        """Some of the objects, by an (N,) mask or (M,) indices."""
        order = np.arange(len(self))[which]
        rows = {
            name: value[order]
            for name in ("xyxy", "scores", "classes", "rotated", "keypoints", "class_scores", "tracks")
            if (value := getattr(self, name)) is not None
        }
        outlines = None if self.outlines is None else tuple(self.outlines[index] for index in order)
        masks = None if self.masks is None else self.masks.only(order)
        return replace(self, **rows, outlines=outlines, masks=masks)

    def outlined(self) -> "Detections":
        """With outlines, if there are masks; without objects whose mask turns out to be empty."""
        if self.masks is None:
            return self
        outlines = self.masks.outlines()
        every = replace(self, outlines=outlines, masks=None)
        return every.only(np.array([bool(outline) for outline in outlines], dtype=np.bool_))


def xyxy_to_percent(xyxy: Floats, width: int, height: int) -> Floats:
    """(N, 4) xyxy in pixels → (N, 4) Label Studio's x, y, width, height in percent, clipped to the image."""
    clipped = clip_xyxy(xyxy, width, height)
    size = np.array([width, height], dtype=np.float64)
    return np.hstack([clipped[:, :2] / size, (clipped[:, 2:] - clipped[:, :2]) / size]) * 100.0


def percent_to_xyxy(xywh: Floats, width: int, height: int) -> Floats:
    """(N, 4) Label Studio's x, y, width, height in percent → (N, 4) xyxy in pixels, not clipped."""
    corners = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    return corners / 100.0 * np.array([width, height, width, height], dtype=np.float64)


def rotated_corners(xyxy: Floats, degrees: Floats) -> Floats:
    """(N, 4) xyxy in pixels, (N,) degrees clockwise → (N, 4, 2) corners, rotated around the top-left one.

    Label Studio rotates a rectangle around its top-left corner in pixel space.
    """
    sides = axes_of(np.deg2rad(degrees)) * (xyxy[:, 2:] - xyxy[:, :2])[:, :, None]
    corner, across, down = xyxy[:, :2], sides[:, 0], sides[:, 1]
    return np.stack([corner, corner + across, corner + across + down, corner + down], axis=1)


def axes_of(radians: Floats) -> Floats:
    """(N,) radians → (N, 2, 2) the axes of a box rotated by them: unit vectors along its width, and along its height.

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
    """(4, 2) corners of a rectangle in order → (5,) centre x, y, width, height, radians clockwise."""
    across, down = corners[1] - corners[0], corners[3] - corners[0]
    angle = np.arctan2(across[1], across[0])
    return np.array([*corners.mean(axis=0), np.hypot(*across), np.hypot(*down), angle])


def clip_rotated(rotated: Floats, width: int, height: int) -> Floats:
    """(N, 5) xywhr → (N, 5) the smallest boxes of the same rotation around their visible parts; size 0 without any.

    The corners of the visible part are the box's corners inside the image, the image's inside the box, and the points
    where their sides cross.
    """
    size = np.array([width, height], dtype=np.float64)
    slack = 1e-9 * size.max()
    centre, half = rotated[:, None, :2], rotated[:, None, 2:4] / 2
    axes = axes_of(rotated[:, 4]).swapaxes(1, 2)  # columns: along its width, its height
    corners = xywhr_to_corners(rotated)
    sides = np.roll(corners, -1, axis=1) - corners
    with np.errstate(divide="ignore", invalid="ignore"):  # sides along a border
        fraction = (np.stack([0 * size, size]) - corners[:, :, None]) / sides[:, :, None]  # (N, 4, 2 borders, 2 axes)
        crossings = corners[:, :, None, None] + sides[:, :, None, None] * fraction[..., None]
    points = np.concatenate([corners, crossings.reshape(-1, 16, 2)], axis=1)
    seen = ((points >= -slack) & (points <= size + slack)).all(axis=2)
    seen[:, 4:] &= ((fraction >= 0) & (fraction <= 1)).reshape(-1, 16)
    points[~seen] = 0.0  # some are NaN
    frame = np.array([(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)])
    along = np.concatenate([points - centre, frame - centre], axis=1) @ axes
    seen = np.concatenate([seen, (np.abs(along[:, 20:]) <= half + slack).all(axis=2)], axis=1)[..., None]
    low, high = np.where(seen, along, np.inf).min(axis=1), np.where(seen, along, -np.inf).max(axis=1)
    low, high = np.where(seen.any(axis=1), (low, high), 0.0)
    middle = rotated[:, :2] + np.einsum("nij,nj->ni", axes, (low + high) / 2)
    return np.hstack([middle, high - low, rotated[:, 4:]])


def envelope(corners: Floats) -> Floats:
    """(N, K, 2) points → (N, 4) xyxy of the smallest upright box around each row."""
    return np.hstack([corners.min(axis=1), corners.max(axis=1)])


def clip_xyxy(xyxy: Floats, width: int, height: int) -> Floats:
    """(N, 4) xyxy in pixels, clipped to the image."""
    return np.clip(xyxy, 0.0, np.array([width, height, width, height], dtype=np.float64))


def xyxy_to_xywhn(xyxy: Floats, width: int, height: int) -> Floats:
    """(N, 4) xyxy in pixels → (N, 4) YOLO's centre x, centre y, width, height as fractions of the image."""
    size = np.array([width, height], dtype=np.float64)
    return np.hstack([(xyxy[:, :2] + xyxy[:, 2:]) / 2 / size, (xyxy[:, 2:] - xyxy[:, :2]) / size])


def xywhn_to_xyxy(xywhn: Floats, width: int, height: int) -> Floats:
    """(N, 4) YOLO's centre x, centre y, width, height as fractions of the image → (N, 4) xyxy in pixels."""
    size = np.array([width, height], dtype=np.float64)
    half = xywhn[:, 2:] / 2
    return np.hstack([(xywhn[:, :2] - half) * size, (xywhn[:, :2] + half) * size])
