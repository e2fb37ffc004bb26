"""VideoRectangle with Labels: a box through a video, stored as keyframes between which Label Studio interpolates.

Label Studio shows a box at a keyframe and, if the keyframe is enabled, after it: interpolated linearly to the next
keyframe, unchanged after the last one (editor/src/regions/VideoRegion.js, VideoRectangleRegion.js). One result item has
the box and its labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Detections, Floats, Ints, clip_xyxy, envelope, percent_to_xyxy, rotated_corners
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import labelled, numbers, rotation_of
from shared.labelstudio.regions.reading import Reading, finish_reading, region_name

TOLERANCE = 1.0
"""Largest error of an edge between two keyframes, in percent of the frame …"""
RELATIVE_TOLERANCE = 0.1
"""… and as part of the box's width or height, for small objects. The smaller of the two is the limit."""
_DIGITS = 4  # decimals of percent
_MIN_SIDE = 0.01  # pixels; more than the rounding error of a box rotated by a right angle


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One object through a video, found by a tracker."""

    frames: Ints  # (N,) Label Studio's frame numbers in which it is visible, ascending
    boxes: Floats  # (N, 4) x, y, width, height in percent of the frame
    label: str | None
    score: float  # 0–1


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One object through a video, drawn by a person."""

    class_: int  # index of the control's label
    frames: Ints  # (K,) frame numbers of the keyframes, ascending, distinct
    enabled: NDArray[np.bool_]  # (K,) whether the object is visible after the keyframe
    boxes: Floats  # (K, 5) x, y, width, height in percent of the frame, rotation in degrees

    def visible_at(self, frames: Ints) -> NDArray[np.bool_]:
        """(F,) frame numbers → whether Label Studio shows the object in them."""
        before = np.searchsorted(self.frames, frames, side="right") - 1
        shown: NDArray[np.bool_] = (before >= 0) & (self.enabled[before] | (self.frames[before] == frames))
        return shown

    def boxes_at(self, frames: Ints) -> Floats:
        """(F,) frame numbers, none before the first keyframe → (F, 5) boxes as Label Studio draws them."""
        before = np.searchsorted(self.frames, frames, side="right") - 1
        after = np.minimum(before + 1, len(self.frames) - 1)
        length = np.maximum(self.frames[after] - self.frames[before], 1)
        part = ((frames - self.frames[before]) * (after > before) / length)[:, None]
        start, change = self.boxes[before], self.boxes[after] - self.boxes[before]
        change[:, 4] = _shortest_turn(change[:, 4])
        moved: Floats = start + change * part
        return moved


def write_tracks(
    tracks: Sequence[Track], control: Control, *, frames_count: int, duration: float, rate: float
) -> list[dict[str, Any]]:
    """One region a track, with edges accurate to TOLERANCE and RELATIVE_TOLERANCE.

    `frames_count`, `rate`: Label Studio's number of frames, and frames a second; `duration` in seconds.
    """
    return [
        {
            "id": f"{control.name}-{number}",
            "from_name": control.name,
            "to_name": control.to_name,
            "type": "videorectangle",
            "score": track.score,
            "value": {
                "framesCount": frames_count,
                "duration": duration,
                "sequence": _keyframes(track, rate),
                **({"labels": [track.label]} if track.label else {}),
            },
        }
        for number, track in enumerate(tracks)
        if len(track.frames)
    ]


def read_tracks(result: Sequence[Mapping[str, Any]], control: Control) -> Reading[list[Drawn]]:
    """All regions with a label of the control, once for each such label.

    Unusable: a region with a keyframe that cannot be read, or without area in all keyframes.
    """
    drawn: list[Drawn] = []
    unusable: list[str] = []
    for region, class_ in labelled(result, control):
        table = _read_sequence(region["value"].get("sequence"))
        if table is None:
            unusable.append(f"{region_name(region, control.label_values[class_])} has a keyframe that cannot be read")
            continue
        if not (table[:, 4:6] != 0).all(axis=1).any():
            unusable.append(f"{region_name(region, control.label_values[class_])} has no area")
            continue
        drawn.append(Drawn(class_, table[:, 0].astype(np.int64), table[:, 1] > 0, table[:, 2:]))
    return finish_reading(drawn, {control.label_values[one.class_] for one in drawn}, unusable, result, control)


def detections_at(frame: int, drawn: Sequence[Drawn], control: Control, width: int, height: int) -> Detections:
    """The objects in one frame of `width` × `height` pixels; rotated boxes as their clipped envelope.

    Boxes without area inside the frame are left out. `tracks` are indices into `drawn`.
    """
    at = np.array([frame], dtype=np.int64)
    tracks = np.array([number for number, one in enumerate(drawn) if one.visible_at(at)[0]], dtype=np.int64)
    boxes = np.array([drawn[number].boxes_at(at)[0] for number in tracks], dtype=np.float64).reshape(-1, 5)
    corners = rotated_corners(percent_to_xyxy(boxes[:, :4], width, height), boxes[:, 4])
    xyxy = clip_xyxy(envelope(corners), width, height)
    classes = [drawn[number].class_ for number in tracks]
    found = Detections.annotated(width, height, xyxy, classes, control.label_values, tracks=tracks)
    large: NDArray[np.bool_] = np.all(xyxy[:, 2:] - xyxy[:, :2] > _MIN_SIDE, axis=1)
    return found.only(large)


def thin(frames: Ints, edges: Floats, tolerance: Floats) -> list[int]:
    """Indices of keyframes among N frames, such that interpolation is within the (N, 4) tolerance of all `edges`.

    The algorithm of Douglas and Peucker (1973), with the distance taken at the same frame. The first and last are kept.
    """
    kept = {0, len(frames) - 1}
    spans = [(0, len(frames) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        inner = np.arange(first + 1, last)
        part = (frames[inner] - frames[first]) / (frames[last] - frames[first])
        line = edges[first] + (edges[last] - edges[first]) * part[:, None]
        off = (np.abs(line - edges[inner]) / tolerance[inner]).max(axis=1)
        worst = int(off.argmax())
        if off[worst] > 1.0:
            kept.add(first + 1 + worst)
            spans += [(first, first + 1 + worst), (first + 1 + worst, last)]
    return sorted(kept)


def _keyframes(track: Track, rate: float) -> list[dict[str, Any]]:
    boxes = track.boxes.round(_DIGITS)
    edges = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    sides = np.hstack([boxes[:, 2:], boxes[:, 2:]])
    tolerance = np.maximum(np.minimum(TOLERANCE, RELATIVE_TOLERANCE * sides), 10.0**-_DIGITS)
    ends = np.flatnonzero(np.diff(track.frames) > 1).tolist()  # before each gap
    sequence = []
    for first, last in zip([0, *(end + 1 for end in ends)], [*ends, len(boxes) - 1], strict=True):
        run = slice(first, last + 1)
        for index in thin(track.frames[run], edges[run], tolerance[run]):
            x, y, width, height = boxes[first + index].tolist()
            frame = int(track.frames[first + index])
            sequence.append(
                {
                    "frame": frame,
                    "enabled": first + index < last,
                    "rotation": 0,
                    "x": x,
                    "y": y,
                    "width": width,
                    "height": height,
                    "time": frame / rate,
                }
            )
    return sequence


def _read_sequence(sequence: Any) -> Floats | None:
    """(K, 7) frame, enabled, x, y, width, height, rotation; None if there are no keyframes, or one cannot be read."""
    rows: dict[int, list[float]] = {}
    for one in sequence if isinstance(sequence, list) else ():
        given = numbers(one, "frame", "x", "y", "width", "height") if isinstance(one, Mapping) else None
        turn = rotation_of(one) if given else None
        if given is None or turn is None or not given[0].is_integer():
            return None
        rows[int(given[0])] = [given[0], float(bool(one.get("enabled"))), *given[1:], turn]
    table = np.array([rows[frame] for frame in sorted(rows)], dtype=np.float64)
    return table if len(table) else None


def _shortest_turn(degrees: Floats) -> Floats:
    """The same angles, in (−180, 180]."""
    turned: Floats = 180.0 - np.mod(180.0 - degrees, 360.0)
    return turned
