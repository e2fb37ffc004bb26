"""Regions that Label Studio's own editor stored are read as they were drawn, in pixels of the 320×200 picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.geometry.detections import Detections, Floats
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.regions.timeline import Span, read_spans
from shared.labelstudio.regions.tracks import detections_at, read_tracks

FOLDER = Path(__file__).parent / "regions"
DRAWN = [70, 62, 160, 119]  # the same corners of the mouse for several shapes


def recorded(name: str, control_name: str = "") -> tuple[dict[str, Any], Control]:
    """The recording, and one of its controls."""
    record = json.loads((FOLDER / f"{name}.json").read_text())
    controls = parse_label_config(record["label_config"])
    return record, next(one for one in controls if control_name in ("", one.name))


def read(name: str, control_name: str = "") -> Detections:
    record, control = recorded(name, control_name)
    return CONTROLS[control.tag].read(record["result"], control, record["width"], record["height"]).found


def labels(found: Detections) -> list[str]:
    return [found.names[index] for index in found.classes.tolist()]


@pytest.mark.parametrize(
    ("name", "control", "box", "label"),
    [
        pytest.param("rectanglelabels", "", DRAWN, "A", id="RectangleLabels"),
        pytest.param("rectangle_labels", "", DRAWN, "A", id="Rectangle with Labels"),
        pytest.param("polygonlabels", "", [70, 62, 160, 138], "A", id="PolygonLabels"),
        pytest.param("polygon_labels", "", [70, 62, 160, 138], "A", id="Polygon with Labels"),
        pytest.param("brushlabels", "", [65, 58, 164, 160], "A", id="BrushLabels: two strokes are one region"),
        pytest.param("ellipselabels", "", [130, 62, 250, 138], "A", id="EllipseLabels"),
        pytest.param("keypointlabels_in_rectangle", "label", [32, 20, 192, 140], "thing", id="KeyPointLabels in a box"),
        pytest.param("choices_per_region", "label", DRAWN, "dog", id="Choices of a region"),
        pytest.param("choices_single", "", [0, 0, 320, 200], "dog", id="Choices of the image"),
        pytest.param("choices_single_radio", "", [0, 0, 320, 200], "C", id="Choices by alias"),
    ],
)
def test_one_thing_is_read_where_it_was_drawn(name: str, control: str, box: list[int], label: str) -> None:
    found = read(name, control)
    assert np.allclose(found.xyxy, [box], atol=1.0)
    assert labels(found) == [label]


def test_every_recording_is_understood() -> None:
    """A new one needs a row above or a test below."""
    assert {path.stem for path in FOLDER.iterdir()} == {
        "rectanglelabels", "rectanglelabels_rotated", "rectangle_labels", "polygonlabels", "polygon_labels",
        "brushlabels", "ellipselabels", "ellipselabels_rotated", "keypointlabels", "keypointlabels_in_rectangle",
        "choices_single", "choices_single_radio", "choices_multiple", "choices_per_region", "videorectangle_labels",
        "videorectangle_drawn", "timelinelabels",
    }  # fmt: skip


def _turned(degrees: float) -> Floats:
    """Unit vectors along and across, in pixels."""
    radians = np.deg2rad(degrees)
    return np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])


def test_a_rectangle_turns_around_its_corner() -> None:
    """30 % by 20 % from (30 %, 20 %), turned by 30°."""
    found = read("rectanglelabels_rotated")
    assert found.rotated is not None
    centre = np.array([96.0, 40.0]) + np.array([48.0, 20.0]) @ _turned(30)
    assert np.allclose(found.rotated, [[*centre, 96, 40, np.deg2rad(30)]])


def test_an_ellipse_turns_around_its_centre() -> None:
    """Radii of 30 % of the width and 10 % of the height, turned by 40°."""
    found = read("ellipselabels_rotated")
    assert found.outlines is not None
    ((ring,),) = found.outlines
    own = (ring - [160, 100]) @ _turned(40).T / [96, 20]
    assert np.allclose(np.hypot(own[:, 0], own[:, 1]), 1.0, atol=0.02)


def test_points_come_in_the_order_of_their_labels() -> None:
    found = read("keypointlabels_in_rectangle", "label")
    assert found.keypoints is not None
    assert np.allclose(found.keypoints[0, :, :2], [[64, 40], [128, 100]])
    assert (found.keypoints[0, :, 2] > 0).all()


def test_points_without_a_box_are_one_thing() -> None:
    found = read("keypointlabels")
    assert found.keypoints is not None
    assert np.allclose(found.keypoints[0, :, :2], [[100, 81], [190, 100]], atol=0.5)


def test_several_choices() -> None:
    found = read("choices_multiple")
    assert found.class_scores is not None
    assert found.class_scores.tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("frame", "boxes"),
    [
        pytest.param(1, [[20, 60, 70, 110]], id="a keyframe"),
        pytest.param(11, [[70, 60, 120, 110]], id="half way"),
        pytest.param(21, [[120, 60, 170, 110]], id="the keyframe that ends it"),
        pytest.param(22, [], id="gone"),
        pytest.param(40, [[160, 60, 210, 110]], id="back, to the end"),
    ],
)
def test_a_box_through_a_video(frame: int, boxes: list[list[int]]) -> None:
    record, control = recorded("videorectangle_labels")
    found = detections_at(
        frame, read_tracks(record["result"], control).found, control, record["width"], record["height"]
    )
    assert np.allclose(found.xyxy, np.array(boxes, dtype=np.float64).reshape(-1, 4), atol=0.2)
    assert labels(found) == ["A"] * len(boxes)


def test_a_box_that_the_editor_drew_in_a_video() -> None:
    record, control = recorded("videorectangle_drawn")
    (track,) = read_tracks(record["result"], control).found
    assert track.frames.tolist() == [1, 11]
    assert track.enabled.all()


def test_spans_of_a_timeline() -> None:
    record, control = recorded("timelinelabels")
    assert read_spans(record["result"], control).found == [Span(3, 12, "A"), Span(20, 20, "B")]
