"""What counts as kept, moved, relabelled, deleted and added, for each kind of control."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from infra.effort.counts import ControlCounts, Counts
from infra.effort.edits import Edit, edits_of
from infra.effort.project import ProjectEffort, version_of
from infra.effort.reading import Sitting
from shared.control_group import in_control_group
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.brush_rle import encode_runs

SIZE = {"original_width": 200, "original_height": 100}


def control_of(tag: str, labels: str = "Tree Bush", media: str = "Image", **attributes: str) -> Control:
    """The control `label` of a config."""
    inner = "".join(f'<{"Choice" if tag == "Choices" else "Label"} value="{label}"/>' for label in labels.split())
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    beside = '<Labels name="names" toName="it">' + inner + "</Labels>" if tag == "VideoRectangle" else ""
    (control,) = (
        one
        for one in parse_label_config(
            f'<View><{media} name="it" value="$it"/>{beside}<{tag} name="label" toName="it"{more}>'
            f"{'' if beside else inner}</{tag}></View>"
        )
        if one.name == "label"
    )
    return control


def item(
    name: str, value: dict[str, Any], origin: str = "", label: str = "Tree", key: str = "rectanglelabels"
) -> dict[str, Any]:
    told = {"origin": origin} if origin else {}
    labels = {key: [label]} if label else {}
    return {"id": name, "from_name": "label", "to_name": "it", "value": value | labels} | SIZE | told


def box(x: float, y: float = 10, width: float = 20, height: float = 20, rotation: float = 0) -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}


def kinds(predicted: list[Any], annotated: list[Any], control: Control) -> dict[str, int]:
    return dict(Counter(edit.kind for edit in edits_of(predicted, annotated, control)))


BOXES = control_of("RectangleLabels")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param([item("a", box(10), "prediction")], "kept", id="untouched"),
        pytest.param([item("a", box(10.1), "prediction-changed")], "kept", id="moved by a hair"),
        pytest.param([item("a", box(12), "prediction-changed")], "moved", id="moved"),
        pytest.param([item("a", box(10, rotation=10), "prediction-changed")], "moved", id="turned"),
        pytest.param([item("a", box(10), "prediction-changed", "Bush")], "relabelled", id="relabelled"),
        pytest.param([item("a", box(15), "prediction-changed", "Bush")], "relabelled", id="relabelled and moved"),
        pytest.param([item("b", box(10), "manual")], "deleted added", id="deleted, and drawn anew"),
        pytest.param([item("a", box(10), "prediction-changed", "")], "deleted", id="without a label it is no object"),
        pytest.param([item("smart-b", box(10), "manual")], "deleted smart", id="deleted, and clicked"),
        pytest.param([], "deleted", id="deleted"),
        pytest.param([item("z", box(11))], "moved", id="by another program: no ids, no origin"),
        pytest.param([item("z", box(60))], "deleted added", id="by another program, elsewhere"),
        pytest.param([item("z", box(10), label="Bush")], "relabelled", id="by another program, with another label"),
    ],
)
def test_a_box(after: list[dict[str, Any]], expected: str) -> None:
    assert kinds([item("a", box(10))], after, BOXES) == dict.fromkeys(expected.split(), 1)


def test_most_alike_first_where_nothing_says_which() -> None:
    predicted = [item("a", box(10)), item("b", box(13))]
    (first, second) = edits_of(predicted, [item("y", box(13)), item("z", box(10))], BOXES)
    assert (first.kind, second.kind) == ("kept", "kept")


def test_a_proposal_without_a_label() -> None:
    predicted = [item("a", box(10), label=""), item("b", box(50), label=""), item("c", box(70), label="")]
    annotated = [item("a", box(10), "prediction-changed"), item("c", box(70), "prediction", label="")]
    assert kinds(predicted, annotated, BOXES) == {"relabelled": 1, "deleted": 1}, "one that nobody named counts as none"


def ring(*points: tuple[float, float]) -> dict[str, Any]:
    return {"points": [list(point) for point in points], "closed": True}


SQUARE = ring((10, 10), (30, 10), (30, 50), (10, 50))


def ellipse(down: float) -> dict[str, Any]:
    return {"x": 50, "y": 50, "radiusX": 20, "radiusY": down, "rotation": 0}


def mask(pixels: int) -> dict[str, Any]:
    return {"format": "rle", "rle": encode_runs(np.array([0]), np.array([pixels]), 200 * 100)}


@pytest.mark.parametrize(
    ("tag", "before", "after", "likeness"),
    [
        pytest.param("PolygonLabels", SQUARE, ring((10, 10), (30, 10), (30, 30), (10, 30)), 0.5, id="half a polygon"),
        pytest.param("PolygonLabels", SQUARE, SQUARE, 1.0, id="the same polygon"),
        pytest.param("EllipseLabels", ellipse(20), ellipse(10), 0.5, id="half an ellipse"),
        pytest.param("BrushLabels", mask(4000), mask(2000), 0.5, id="half a mask"),
        pytest.param("RectangleLabels", box(10, rotation=30), box(10, width=10, rotation=30), 0.5, id="half, rotated"),
        pytest.param("KeyPointLabels", {"x": 50, "y": 50}, {"x": 52.5, "y": 50}, 0.5, id="5 of 200 pixels off"),
    ],
)
def test_the_likeness_of_a_moved_object(tag: str, before: Any, after: Any, likeness: float) -> None:
    shown, final = item("a", before, key=tag.lower()), item("a", after, "prediction-changed", key=tag.lower())
    (edit,) = edits_of([shown], [final], control_of(tag))
    assert edit.likeness == pytest.approx(likeness, abs=0.01)
    assert edit.kind == ("kept" if likeness == 1 else "moved")


def sequence(*frames: tuple[int, float]) -> dict[str, Any]:
    keyframes = [{"frame": frame, "enabled": True, "time": frame / 24} | box(x) for frame, x in frames]
    return {"framesCount": 20, "duration": 1.0, "sequence": keyframes}


def test_a_track_is_moved_with_its_keyframes() -> None:
    control = control_of("VideoRectangle", media="Video")
    before = item("a", sequence((1, 10), (11, 30)), key="labels")
    after = item("a", sequence((1, 10), (11, 40)), "prediction-changed", key="labels")
    (edit,) = edits_of([before], [after], control)
    assert edit.kind == "moved"
    assert edit.likeness == pytest.approx((1 + 1 / 3) / 2), "the same at the first, half over the other at the second"
    assert kinds([before], [before | {"origin": "prediction-changed"}], control) == {"kept": 1}


def test_a_span_is_moved_with_its_ends() -> None:
    control = control_of("TimelineLabels", media="Video")
    span = [{"ranges": [{"start": 1, "end": end}]} for end in (10, 20)]
    before = item("a", span[0], key="timelinelabels")
    (edit,) = edits_of([before], [item("a", span[1], "prediction-changed", key="timelinelabels")], control)
    assert (edit.kind, edit.likeness) == ("moved", 0.5)
    left_over = item("b", {"ranges": []}, "manual", key="timelinelabels")
    assert kinds([before], [item("a", span[0], "prediction", key="timelinelabels"), left_over], control) == {"kept": 1}


@pytest.mark.parametrize(
    ("choice", "after", "expected"),
    [
        pytest.param("single", ["Tree"], {"kept": 1}, id="right"),
        pytest.param("single", ["Bush"], {"relabelled": 1}, id="another one"),
        pytest.param("single", [], {"deleted": 1}, id="taken back"),
        pytest.param("multiple", ["Tree", "Bush"], {"kept": 1, "added": 1}, id="one more of several"),
        pytest.param("multiple", ["Bush"], {"deleted": 1, "added": 1}, id="another one of several"),
    ],
)
def test_choices(choice: str, after: list[str], expected: dict[str, int]) -> None:
    control = control_of("Choices", choice=choice)
    before = {"id": "a", "from_name": "label", "value": {"choices": ["Tree"]}}
    annotated = {"id": "b", "from_name": "label", "value": {"choices": after}}
    assert kinds([before], [annotated], control) == expected, "an image has one item of choices, whatever its id is"


def test_garbage_is_no_object() -> None:
    garbage: list[Any] = [
        None,
        3,
        {"value": 4},
        {"from_name": "label", "value": {"rectanglelabels": 7}},
        item("a", {"x": "?"}),
    ]
    assert kinds(garbage, garbage, BOXES)["kept"] == 1
    assert kinds([item("a", box(10))], [item("a", {"x": "?"}, "prediction-changed")], BOXES) == {"moved": 1}


def test_what_the_counts_say() -> None:
    counts = ControlCounts()
    counts.add(
        [Edit("kept", "a", "a"), Edit("moved", "a", "a", 0.72), Edit("relabelled", "a", "b"), Edit("deleted", "b")]
    )
    counts.add([Edit("added", final="b")])
    counts.add([Edit("kept", "a", "a")])
    total = counts.total
    assert (total.shown, total.final, total.edits) == (5, 5, 4)
    assert (counts.images, counts.unedited) == (3, 1)
    assert total.acceptance == 2 / 5
    assert total.coverage == 4 / 5
    by_tool = total.plus(Counts(smart=2, final=2))
    assert (by_tool.shown, by_tool.edits, by_tool.coverage) == (5, 6, 4 / 7), "no prediction showed them"
    assert by_tool.saved() == pytest.approx(1 - (0.5 + 0.3 + 0.2 + 1 + 2 * 0.3) / 7)
    assert total.moved_likeness == pytest.approx(0.725)
    assert total.saved() == pytest.approx(1 - (0.5 + 0.3 + 0.2 + 1) / 5)
    assert (counts.classes["b"].final, counts.classes["b"].shown, counts.classes["a"].final) == (2, 1, 3)
    assert Counts(deleted=3).saved() is None, "nothing was there to draw"
    assert Counts(deleted=9, added=1, final=1).saved() == pytest.approx(-1.8), "correcting cost more than drawing"


@pytest.mark.parametrize(
    ("model_version", "expected"),
    [
        ("label:v12", "v12"),
        ("poly:v3+label:v2", "v2"),
        ("my label:v9", "my label:v9"),
        ("label:base-yolo11n", "base-yolo11n"),
        ("label:base-trees+shrubs", "base-trees+shrubs"),
        ("label:base-trees+shrubs+poly:base-a+b", "base-trees+shrubs"),
        ("poly:base-a+b+label:base-trees+shrubs", "base-trees+shrubs"),
        ("label:base-trees+shrubs+removed:v3", "base-trees+shrubs"),
        ("poly:v3", ""),  # the base weights of the other control were not made yet
        ("somebody's model", "somebody's model"),
        ("", "no version"),
    ],
)
def test_the_version_of_a_control(model_version: str, expected: str) -> None:
    assert version_of(model_version, "label", ["label", "poly"]) == expected


def test_the_control_group_is_always_the_same_and_as_large_as_asked() -> None:
    groups = [{task for task in range(4000) if in_control_group("1.2", task, share)} for share in (0.0, 0.05, 0.2, 1.0)]
    assert [len(group) / 4000 for group in groups] == pytest.approx([0.0, 0.05, 0.2, 1.0], abs=0.015)
    assert groups[1] < groups[2], "a larger share takes no task away"
    assert not in_control_group("1.2", None, 1.0)


def test_recall_without_having_been_shown_comes_from_the_control_group() -> None:
    annotated = [item("z", box(12), "manual"), item("y", box(60), "manual")]
    later = {"label:v3": [item("a", box(10)), item("b", box(30))]}
    group = next(task for task in range(1000) if in_control_group("1.2", task, 0.05))
    other = next(task for task in range(1000) if not in_control_group("1.2", task, 0.05))
    effort = ProjectEffort("1.2", [BOXES], share=0.05)
    for task in (group, other):
        effort.add([Sitting(task, "without", 1, 20.0, annotated, later=later)])
    ((key, counts),) = effort.unseen.items()
    assert key == ("v3", "label")
    assert (counts.recall, counts.moved, counts.added, counts.deleted, counts.final) == (0.5, 1, 1, 1, 2)
    assert effort.times().control_group
    assert len(effort.times().alone) == 1
