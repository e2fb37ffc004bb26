"""Spans of a timeline, there and back."""

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions.timeline import Span, labels_at, read_spans, write_spans

CONFIG = """<View><Video name="video" value="$video"/><TimelineLabels name="phase" toName="video">
<Label value="Rise"/><Label value="Fall"/></TimelineLabels></View>"""
(CONTROL,) = parse_label_config(CONFIG)
ORACLE = LabelInterface(CONFIG)


@st.composite
def timelines(draw: st.DrawFn) -> list[Span]:
    spans = []
    for start in draw(st.lists(st.integers(1, 500), max_size=9)):
        label = draw(st.sampled_from(CONTROL.label_values))
        spans.append(Span(start, start + draw(st.integers(0, 90)), label))
    return spans


@given(timelines())
def test_what_is_written_is_read(spans: list[Span]) -> None:
    written = write_spans(spans, CONTROL)
    assert read_spans(written, CONTROL).found == spans
    assert ORACLE.validate_prediction({"result": written, "score": 0.5, "model_version": "v"}, True) == []


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=200))
def test_region_to_the_class_of_each_frame_to_region(classes: list[int]) -> None:
    """-1: outside of all spans."""
    frames = np.arange(1, len(classes) + 1)
    written = write_spans(_spans(classes), CONTROL)
    held = labels_at(frames, read_spans(written, CONTROL).found, CONTROL)
    read = np.where(held.any(axis=1), held.argmax(axis=1), -1).tolist()
    assert read == classes
    assert write_spans(_spans(read), CONTROL) == written


def _spans(classes: list[int]) -> list[Span]:
    runs = [list(run) for _, run in groupby(enumerate(classes, 1), key=lambda one: one[1])]
    return [Span(run[0][0], run[-1][0], CONTROL.label_values[run[0][1]]) for run in runs if run[0][1] >= 0]


def test_region() -> None:
    assert write_spans([Span(3, 5, "Fall", 0.8)], CONTROL) == [
        {
            "id": "phase-0",
            "from_name": "phase",
            "to_name": "video",
            "type": "timelinelabels",
            "score": 0.8,
            "value": {"ranges": [{"start": 3, "end": 5}], "timelinelabels": ["Fall"]},
        }
    ]


def test_labels_held_in_frames() -> None:
    spans = [Span(2, 3, "Fall"), Span(3, 3, "Rise"), Span(7, 9, "Fall")]
    held = labels_at(np.arange(1, 8), spans, CONTROL)
    assert held.tolist() == [
        [False, False],
        [False, True],
        [True, True],
        [False, False],
        [False, False],
        [False, False],
        [False, True],
    ]


def annotated(ranges: Any, labels: Any = ("Rise",), from_name: str = "phase") -> dict[str, Any]:
    return {"from_name": from_name, "value": {"ranges": ranges, "timelinelabels": labels}}


def test_several_ranges_and_labels_count_once_for_each() -> None:
    both = annotated([{"start": 1, "end": 2}, {"start": 5, "end": 5}], ["Rise", "Fall"])
    assert [(span.start, span.label) for span in read_spans([both], CONTROL).found] == [
        (1, "Rise"),
        (5, "Rise"),
        (1, "Fall"),
        (5, "Fall"),
    ]


def test_a_label_counts_once() -> None:
    twice = annotated([{"start": 1, "end": 2}], ["Fall"] * 1000)
    assert read_spans([twice], CONTROL).found == [Span(1, 2, "Fall")]


@pytest.mark.parametrize(
    "region",
    [
        annotated(None),
        annotated([None, "1-2", {"start": None, "end": 2}, {"start": 5, "end": 2}, {"start": 1, "end": 10**12}]),
        annotated([{"start": 1, "end": float("inf")}]),
        annotated([{"start": 1, "end": 2}], None),
        annotated([{"start": 1, "end": 2}], [["Rise"], "Pause", None]),
        annotated([{"start": 1, "end": 2}], from_name="other"),
        {"from_name": "phase"},
    ],
    ids=["no list", "broken", "endless", "no labels", "unknown labels", "another control", "no value"],
)
def test_nonsense_is_left_out(region: dict[str, Any]) -> None:
    assert read_spans([region], CONTROL).found == []
