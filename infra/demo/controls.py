"""The demos: for each control its labeling config, its samples and its training settings."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from infra.demo import drawn
from infra.demo.drawn import ENDS, FRAME_RATE, KINDS
from infra.demo.samples import CACHE, Sample, Tile, tiles
from shared.geometry.detections import Detections
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control

CONTROL = "label"
"""Name of the control that is trained, in every config."""
GROUNDS = ("Clearing", "Forest")
_COLORS = ("#00e676", "#2979ff")
_CLEARING, _FOREST = 0.2, 0.45  # part of a tile covered by boxes of trees: at most, at least
_CORNERS = np.linspace(0, 2 * np.pi, 16, endpoint=False)

_IMAGE = '<Image name="image" value="$image"/>'
_VIDEO = f'<Video name="video" value="$video" frameRate="{FRAME_RATE:g}" height="360"/>'
_TAGS = {
    "detect": _IMAGE + '<RectangleLabels name="label" toName="image">{labels}</RectangleLabels>',
    "rectangle": _IMAGE
    + '<Rectangle name="label" toName="image"/><Labels name="kind" toName="image">{labels}</Labels>',
    "obb": _IMAGE + '<RectangleLabels name="label" toName="image" model_obb="true">{labels}</RectangleLabels>',
    "polygon": _IMAGE + '<PolygonLabels name="label" toName="image">{labels}</PolygonLabels>',
    "brush": _IMAGE + '<BrushLabels name="label" toName="image">{labels}</BrushLabels>',
    "ellipse": _IMAGE + '<EllipseLabels name="label" toName="image">{labels}</EllipseLabels>',
    "keypoint": _IMAGE
    + '<RectangleLabels name="label_bbox" toName="image" model_skip="true">{labels}</RectangleLabels>'
    '<KeyPointLabels name="label" toName="image" model_point_size="4">'
    + "".join(
        f'<Label value="{end}" model_index="{index}" background="{color}"/>'
        for index, (end, color) in enumerate(zip(ENDS, ("#ff2020", "#2040ff"), strict=True))
    )
    + "</KeyPointLabels>",
    "choices": _IMAGE + '<Choices name="label" toName="image" choice="single-radio">{choices}</Choices>',
    "video": _VIDEO
    + '<VideoRectangle name="label" toName="video"/><Labels name="kind" toName="video">{labels}</Labels>',
    "timeline": '<TimelineLabels name="label" toName="video">{labels}</TimelineLabels>' + _VIDEO,
}

_SHAPES = {"obb": "rotated", "polygon": "outlines", "brush": "outlines", "ellipse": "outlines", "keypoint": "keypoints"}
"""Control → field of Detections that annotators draw instead of upright boxes."""

_PHOTOGRAPHS = (
    "Real images: an aerial photograph of the package deepforest, cut into tiles, with the boxes that experts drew "
    "around its trees."
)
_INSCRIBED = " The crowns themselves were not drawn: this demo annotates the ellipse that fills each box."
_COVERED = (
    f" A tile is a forest if boxes cover {_FOREST:.0%} of it, a clearing if {_CLEARING:.0%} at most; the others are "
    "left out."
)
_DRAWN = "Drawn images: airships of two kinds over a real aerial photograph (of the package deepforest)."


@dataclass(frozen=True, slots=True)
class Demo:
    """One control of the demo."""

    title: str  # of the project
    label_config: str
    source: str  # where the samples come from, for the screen
    samples: Callable[[Path], list[Sample]]  # cache folder → shuffled samples
    held_out: int = 6  # samples that are not annotated but used to measure both models
    epochs: int = 50  # of each training; 0: chosen by the number of annotated images
    image_size: int = 256

    @property
    def control(self) -> Control:
        """The control that is trained."""
        (control,) = (one for one in parse_label_config(self.label_config) if one.name == CONTROL)
        return control


def label_config(kind: str, labels: tuple[str, ...]) -> str:
    """The labeling config of a control; `kind`: a key of DEMOS, or `rectangle`."""
    written = "".join(
        f'<Label value="{label}" background="{color}"/>' for label, color in zip(labels, _COLORS, strict=False)
    )
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    return f"<View>{_TAGS[kind].format(labels=written, choices=choices)}</View>"


def airships(kind: str, *, count: int, size: tuple[int, int], frames: int = 0, **how: int) -> Demo:
    """A demo of any control with drawn airships. `size`: (width, height) in pixels; `frames` of each video."""
    special: dict[str, Callable[..., list[Sample]]] = {
        "choices": drawn.portraits,
        "video": partial(drawn.videos, frames=frames),
        "timeline": partial(drawn.calls, frames=frames),
    }
    draw = special.get(kind, drawn.pictures)
    config = label_config(kind, KINDS)
    return Demo(
        title=f"Airships: {kind}",
        label_config=config,
        source=_DRAWN if kind not in ("video", "timeline") else _DRAWN.replace("images", "videos"),
        samples=lambda cache: [_drawn_as(kind, sample) for sample in draw(count, *size, cache=cache)],
        **how,
    )


def _drawn_as(kind: str, sample: Sample) -> Sample:
    """The sample with only the shape that the control annotates."""
    shapes: dict[str, Any] = dict.fromkeys({"rotated", "outlines", "keypoints"} - {_SHAPES.get(kind)})
    return replace(sample, expert=tuple(replace(each, **shapes) for each in sample.expert))


def _trees(
    kind: str, source: str, samples: Callable[[Path], list[Sample]], labels: tuple[str, ...], **how: int
) -> Demo:
    def drawn_as(cache: Path) -> list[Sample]:
        return [_drawn_as(kind, sample) for sample in samples(cache)]

    return Demo(f"Trees from the air: {kind}", label_config(kind, labels), source, drawn_as, **how)


def crowns(cache: Path = CACHE) -> list[Sample]:
    """Tiles of 200 pixels, with box and inscribed ellipse of each tree."""
    cut = tiles(cache=cache)
    random.Random(0).shuffle(cut)  # noqa: S311
    return [Sample(tile.name, ".jpg", tile.data, (_trees_of(tile),)) for tile in cut]


def grounds(cache: Path = CACHE) -> list[Sample]:
    """Tiles of 100 pixels of forest and clearing in turn, by the part that boxes of trees cover; others left out."""
    cut = [(tile, _covered(tile)) for tile in tiles(size=100, cache=cache)]
    clear = [(tile, covered) for tile, covered in cut if not _CLEARING < covered < _FOREST]
    random.Random(0).shuffle(clear)  # noqa: S311
    found = [
        Sample(tile.name, ".jpg", tile.data, (_ground_of(tile, GROUNDS[covered >= _FOREST]),))
        for tile, covered in clear
    ]
    return _in_turn(found)


def _in_turn(samples: list[Sample]) -> list[Sample]:
    """One of each class in turn, as far as they go: of the first five tasks hardly ever one class only is learnt."""
    of_class = [[one for one in samples if one.expert[0].classes[0] == number] for number in range(len(GROUNDS))]
    return [one for turn in zip_longest(*of_class) for one in turn if one is not None]


def _trees_of(tile: Tile) -> Detections:
    centre, half = (tile.boxes[:, :2] + tile.boxes[:, 2:]) / 2, (tile.boxes[:, 2:] - tile.boxes[:, :2]) / 2
    unit = np.stack([np.cos(_CORNERS), np.sin(_CORNERS)], 1)
    return Detections.annotated(
        tile.width,
        tile.height,
        tile.boxes,
        np.zeros(len(tile.boxes)),
        ("Tree",),
        outlines=tuple((middle + unit * size,) for middle, size in zip(centre, half, strict=True)),
    )


def _covered(tile: Tile) -> float:
    below = np.zeros((tile.height, tile.width), dtype=np.bool_)
    for x1, y1, x2, y2 in tile.boxes.round().astype(int).tolist():
        below[y1:y2, x1:x2] = True
    return float(below.mean())


def _ground_of(tile: Tile, ground: str) -> Detections:
    index = GROUNDS.index(ground)
    whole, scores = [0, 0, tile.width, tile.height], np.eye(len(GROUNDS))[[index]]
    return Detections.annotated(tile.width, tile.height, whole, [index], GROUNDS, class_scores=scores)


DEMOS = {
    "detect": _trees("detect", _PHOTOGRAPHS, crowns, ("Tree",), epochs=0, image_size=192),
    "polygon": _trees("polygon", _PHOTOGRAPHS + _INSCRIBED, crowns, ("Tree",), epochs=0, image_size=192),
    "brush": _trees("brush", _PHOTOGRAPHS + _INSCRIBED, crowns, ("Tree",), epochs=0, image_size=192),
    "ellipse": _trees("ellipse", _PHOTOGRAPHS + _INSCRIBED, crowns, ("Tree",), epochs=0, image_size=192),
    "choices": _trees(
        "choices",
        _PHOTOGRAPHS + _COVERED,
        grounds,
        GROUNDS,
        held_out=20,
        epochs=40,
        image_size=640,  # of which classifiers take a third
    ),
    "obb": airships("obb", count=30, size=(320, 240)),
    "keypoint": airships("keypoint", count=30, size=(320, 240), epochs=0),
    "video": airships("video", count=8, size=(320, 240), frames=30, held_out=2, epochs=15),
    "timeline": airships("timeline", count=12, size=(320, 240), frames=30, held_out=2, epochs=15),
}
"""Name on the command line → demo."""
