"""The pictures of a report: small copies with what was annotated and found drawn over them, as parts of an SVG.

Everything is bounded, whatever the pictures hold: the bytes of a copy, and the length of what is drawn over it.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from jobs.train.report.matching import matches
from jobs.train.shown_choice import TIGHT, kept
from jobs.train.tracking_scores import Trajectories
from jobs.train.training import Seen
from shared.geometry.detections import Detections, Floats, xywhr_to_corners
from shared.media.decode import decode_for
from shared.state.versions import Shown

Kind = Literal["label", "right", "loose", "wrong", "missed"]
_SIDES, _QUALITIES = (448, 320, 224), (78, 55, 30)  # pixels, of WebP; tried in turn
_MAX_BYTES = 60_000  # of a small copy
_MAX_DRAWN = 20_000  # characters over one picture
_MAX_POINTS = 48  # of a ring
_NAMED = 12  # objects whose names are written over a picture
_CHARACTER = 7.5  # about the width of one, in pixels of the copy
_COLOURS = 6  # of tracks
MARKS = ("○", "□", "△", "◇")
"""What keypoints are drawn as, in turn."""
_MARK = 3.0  # half the size of a keypoint's mark, in pixels of the copy


@dataclass(frozen=True, slots=True)
class Copy:
    """A small copy of a picture."""

    uri: str  # data:
    width: int  # pixels
    height: int


@dataclass(frozen=True, slots=True)
class Panel:
    """What one of labels, champion and challenger says of a picture."""

    who: str
    says: str  # below the picture
    drawn: tuple[tuple[str, str], ...] = ()  # (class of style, path of SVG)
    names: tuple[tuple[float, float, str], ...] = ()  # x, y, text
    tone: Literal["", "good", "bad"] = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture, as labels, champion and challenger see it."""

    title: str
    copy: Copy
    panels: tuple[Panel, ...]
    drawn: bool  # False: words alone, of a classifier


def small_copy(file: Path, max_pixels: int) -> Copy:
    """A copy of a picture of the dataset. Raises ImageError, OSError."""
    pixels = decode_for(file.read_bytes(), max_pixels, _SIDES[0]).pixels
    copy = Copy("", 0, 0)
    for side, quality in zip(_SIDES, _QUALITIES, strict=True):
        scale = min(side / max(pixels.shape[:2]), 1.0)
        size = (max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1))
        smaller = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".webp", smaller, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        copy = Copy(f"data:image/webp;base64,{base64.b64encode(data).decode()}", *size)
        if len(data) <= _MAX_BYTES:
            break
    return copy


def label_panel(seen: Seen, copy: Copy, names: Sequence[str], objects: tuple[str, str]) -> Panel:
    """What was annotated. `objects`: what one of them, and several, are called."""
    drawing = Drawing(copy, seen.truth)
    drawing.add("label", range(len(seen.truth)))
    says = f"{len(seen.truth)} {objects[len(seen.truth) != 1]}{drawing.rest}"
    return Panel("labels", says, drawing.paths(), drawing.names(names, scores=False))


def found_panel(seen: Seen, copy: Copy, names: Sequence[str], who: str, shown: Mapping[int, Shown]) -> Panel:
    """What a model shows of it: what is right, what has to be moved, what is wrong, and what it missed."""
    assert seen.outcome is not None
    mask = kept(seen.outcome, shown)
    found = seen.found.only(mask)
    visible = seen.outcome.only(mask)
    matched = matches(visible, same_class=True)
    places = np.arange(len(matched))
    overlap = np.where(matched < 0, 0.0, visible.overlap[matched, places]) if len(visible.truth) else 0.0 * places
    right, wrong = np.flatnonzero(overlap >= TIGHT), np.flatnonzero(matched < 0)
    loose = np.flatnonzero((matched >= 0) & (overlap < TIGHT))
    known = np.flatnonzero(np.isin(seen.truth.classes, list(shown)))
    missed = np.setdiff1d(known, matched)
    drawing = Drawing(copy, found)
    drawing.add("right", right.tolist())
    drawing.add("loose", loose.tolist())
    drawing.add("wrong", wrong.tolist())
    lost = Drawing(copy, seen.truth, drawing.left)
    lost.add("missed", missed.tolist())
    counted = ((right, "right"), (loose, "loose"), (wrong, "wrong"), (missed, "missed"))
    says = ", ".join(f"{len(some)} {called}" for some, called in counted if len(some)) or "nothing"
    tone: Literal["good", "bad"] = "bad" if len(loose) + len(wrong) + len(missed) else "good"
    says += drawing.rest or lost.rest
    return Panel(who, says, drawing.paths() + lost.paths(), drawing.names(names, scores=True), tone)


def guess_panel(seen: Seen, names: Sequence[str], who: str) -> Panel:
    """What a classifier says."""
    said = [
        f"{names[class_]} {score:.0%}"
        for class_, score in zip(seen.found.classes.tolist(), seen.found.scores.tolist(), strict=True)
        if score >= 0.01
    ]
    right = len(seen.found) and seen.found.classes[0] in seen.truth.classes
    return Panel(who, ", ".join(said) or "nothing", tone="good" if right else "bad")


def chosen_panel(seen: Seen, names: Sequence[str]) -> Panel:
    """What was chosen for a picture."""
    return Panel("label", ", ".join(names[class_] for class_ in seen.truth.classes.tolist()) or "nothing")


def trajectories_panel(trajectories: Trajectories, copy: Copy, who: str, says: str) -> Panel:
    """Where tracked objects went in a video: a line for each track, its beginning marked."""
    paths, left = list[tuple[str, str]](), _MAX_DRAWN
    for number, steps in enumerate(trajectories.steps.values()):
        step = -(-len(steps) // _MAX_POINTS)
        points = np.array([place[1:] for place in steps[::step]]) * (copy.width, copy.height)
        path = _line(points, closed=False) + _marked(points[:1], 0)
        left -= len(path)
        if left < 0:
            break
        paths.append((f"way way{number % _COLOURS}", path))
    return Panel(who, says, tuple(paths))


@dataclass(slots=True)
class Drawing:
    """Paths over one picture."""

    copy: Copy
    objects: Detections
    left: int = _MAX_DRAWN  # characters that may still be drawn
    _paths: dict[str, list[str]] = field(default_factory=dict)
    _places: list[tuple[int, float, float]] = field(default_factory=list)
    _skipped: int = 0

    def add(self, kind: Kind, which: Iterable[int]) -> None:
        """Draw some of the objects; those for which there is no room are counted."""
        scale = np.array([self.copy.width / self.objects.width, self.copy.height / self.objects.height])
        for number in which:
            path = _shape(self.objects, number, scale)
            self.left -= len(path)
            if self.left < 0:
                self._skipped += 1
                continue
            self._paths.setdefault(kind, []).append(path)
            x, y = (self.objects.xyxy[number, :2] * scale).tolist()
            self._places.append((number, x, y))

    @property
    def rest(self) -> str:
        """What is said of the objects that are not drawn."""
        return f" ({self._skipped} of them not drawn)" if self._skipped else ""

    def paths(self) -> tuple[tuple[str, str], ...]:
        """(class of style, path)"""
        shape = " area" if self.objects.outlines is not None else ""
        return tuple((f"{kind}{shape}", "".join(parts)) for kind, parts in self._paths.items())

    def names(self, names: Sequence[str], *, scores: bool) -> tuple[tuple[float, float, str], ...]:
        """What is written beside the objects, if they are few: labels if there are several, and scores."""
        if len(self._places) > _NAMED or (len(names) < 2 and not scores):
            return ()
        found = []
        for number, x, y in self._places:
            label = names[self.objects.classes[number]] if len(names) > 1 else ""
            score = f"{self.objects.scores[number]:.0%}" if scores else ""
            text = " ".join(filter(None, (_short(label), score)))
            left = max(min(x, self.copy.width - _CHARACTER * len(text)), 2.0)
            found.append((round(left, 1), round(max(y - 4.0, 11.0), 1), text))
        return tuple(found)


def _shape(objects: Detections, number: int, scale: Floats) -> str:
    """The path of one object; `scale`: (2,) of its coordinates."""
    if objects.outlines is not None:
        return "".join(_line(_fewer(ring) * scale) for ring in objects.outlines[number])
    if objects.rotated is not None:
        return _line(xywhr_to_corners(objects.rotated[[number]])[0] * scale)
    left, top, right, bottom = objects.xyxy[number]
    path = _line(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) * scale)
    if objects.keypoints is not None:
        for index, (x, y, there) in enumerate(objects.keypoints[number]):
            if there > 0:
                path += _marked(np.array([(x, y)]) * scale, index)
    return path


def _line(points: Floats, *, closed: bool = True) -> str:
    if not len(points):
        return ""
    return "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in points.tolist()) + ("Z" if closed else "")


def _marked(point: Floats, index: int) -> str:
    """The mark of a keypoint: see MARKS."""
    if not len(point):
        return ""
    (x, y), size = point[0].tolist(), _MARK
    if index % 4 == 0:
        arc = f"a{size:g} {size:g} 0 1 0 "
        return f"M{x - size:.4g} {y:.4g}{arc}{2 * size:g} 0{arc}{-2 * size:g} 0Z"
    corners = {
        1: [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        2: [(0, -1.3), (1.2, 1), (-1.2, 1)],
        3: [(0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)],
    }[index % 4]
    return _line(np.array(corners) * size + (x, y))


def _fewer(ring: Floats) -> Floats:
    return ring[:: -(-len(ring) // _MAX_POINTS)] if len(ring) else ring


def _short(label: str) -> str:
    return label if len(label) <= 18 else f"{label[:17]}…"
