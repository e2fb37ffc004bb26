"""Tracks and keyframes, there and back. The SDK's own interpolation is the oracle, and its LabelInterface the judge."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from label_studio_sdk._extensions.label_studio_tools.postprocessing.video import extract_key_frames
from label_studio_sdk.label_interface import LabelInterface
from numpy.typing import NDArray

from jobs.train.data.yolo_labels import label_lines
from shared.geometry.detections import xywhn_to_xyxy, xyxy_to_percent
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions.tracks import (
    RELATIVE_TOLERANCE,
    TOLERANCE,
    Track,
    detections_at,
    read_tracks,
    write_tracks,
)

CONFIG = """<View><Video name="video" value="$video" frameRate="25"/><VideoRectangle name="box" toName="video"/>
<Labels name="kind" toName="video"><Label value="Car"/><Label value="Ship"/></Labels></View>"""
(CONTROL,) = parse_label_config(CONFIG)
ORACLE = LabelInterface(CONFIG)
RATE = 25.0


def track(frames: Any, boxes: Any, label: str | None = "Car", score: float = 0.9) -> Track:
    return Track(np.array(frames, np.int64), np.array(boxes, np.float64).reshape(-1, 4), label, score)


def write(*tracks: Track, frames_count: int = 1000) -> list[dict[str, Any]]:
    return write_tracks(tracks, CONTROL, frames_count=frames_count, duration=frames_count / RATE, rate=RATE)


def drawn_by_sdk(region: dict[str, Any]) -> dict[int, list[float]]:
    """Frame → x, y, width, height, as the SDK's export expands keyframes."""
    (expanded,) = extract_key_frames([region])
    return {one["frame"]: [one[key] for key in ("x", "y", "width", "height")] for one in expanded["value"]["sequence"]}


@st.composite
def seen(draw: st.DrawFn) -> Track:
    """An object that wanders, grows, shakes, and is lost now and then."""
    count = draw(st.integers(1, 120))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = random.choice([1, 1, 1, 1, 1, 1, 2, 9], count)
    frames = draw(st.integers(1, 50)) + np.cumsum(steps)
    shaking = draw(st.sampled_from([0.0, 0.3, 5.0]))
    centre = 50 + np.cumsum(random.normal(0, 0.7, (count, 2)), axis=0) + random.normal(0, shaking, (count, 2))
    size = np.abs(draw(st.sampled_from([1.0, 10.0, 40.0])) + np.cumsum(random.normal(0, 0.2, (count, 2)), axis=0))
    low, high = np.clip(centre - size / 2, 0, 100), np.clip(centre + size / 2, 0, 100)
    return track(frames, np.hstack([low, high - low]))


def edges(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


class TestWriting:
    def test_region(self) -> None:
        (region,) = write(track([5, 6], [[10, 20, 30, 40], [11, 20, 30, 40]]), frames_count=50)
        assert region == {
            "id": "box-0",
            "from_name": "box",
            "to_name": "video",
            "type": "videorectangle",
            "score": 0.9,
            "value": {
                "framesCount": 50,
                "duration": 2.0,
                "labels": ["Car"],
                "sequence": [
                    {"frame": 5, "enabled": True, "rotation": 0, "time": 0.2}
                    | {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0},
                    {"frame": 6, "enabled": False, "rotation": 0, "time": 0.24}
                    | {"x": 11.0, "y": 20.0, "width": 30.0, "height": 40.0},
                ],
            },
        }

    @pytest.mark.parametrize("label", ["Car", None])
    def test_the_sdk_accepts_it(self, label: str | None) -> None:
        (region,) = write(track([1, 2, 9], [[0, 0, 100, 100], [1, 2, 3, 4], [99.5, 99.5, 0.5, 0.5]], label))
        assert ORACLE.validate_prediction({"result": [region], "score": 0.5, "model_version": "v"}, True) == []

    def test_steady_motion_needs_two_keyframes(self) -> None:
        frames = np.arange(1, 501)
        boxes = np.stack([frames / 10, frames / 20, 10 + frames / 50, np.full(500, 20.0)], axis=1)
        (region,) = write(track(frames, boxes))
        assert [(one["frame"], one["enabled"]) for one in region["value"]["sequence"]] == [(1, True), (500, False)]

    def test_a_turn_needs_three(self) -> None:
        frames = np.arange(1, 101)
        boxes = np.stack([np.abs(frames - 50), np.full(100, 5.0), np.full(100, 20.0), np.full(100, 20.0)], axis=1)
        (region,) = write(track(frames, boxes))
        assert [one["frame"] for one in region["value"]["sequence"]] == [1, 50, 100]

    def test_shaking_less_than_the_tolerance_needs_no_keyframes(self) -> None:
        random = np.random.default_rng(0)
        boxes = np.array([40, 40, 20, 20]) + random.uniform(-0.2, 0.2, (300, 4))
        (region,) = write(track(np.arange(1, 301), boxes))
        assert len(region["value"]["sequence"]) == 2

    def test_small_things_keep_their_place(self) -> None:
        """1 % of the frame would be half of this one."""
        frames = np.arange(1, 61)
        boxes = np.stack([50 + 0.9 * np.sin(frames / 5), np.full(60, 50.0), np.full(60, 2.0), np.full(60, 2.0)], axis=1)
        (region,) = write(track(frames, boxes))
        sdk = drawn_by_sdk(region)
        assert max(abs(sdk[frame][0] - box[0]) for frame, box in zip(frames.tolist(), boxes, strict=True)) < 0.21

    def test_where_it_is_not_seen_nothing_is_drawn(self) -> None:
        (region,) = write(track([1, 2, 3, 7, 8, 20], [[10, 10, 10, 10]] * 6))
        assert [(one["frame"], one["enabled"]) for one in region["value"]["sequence"]] == [
            (1, True),
            (3, False),
            (7, True),
            (8, False),
            (20, False),
        ]
        assert sorted(drawn_by_sdk(region)) == [1, 2, 3, 7, 8, 20]


@given(seen())
def test_label_studio_draws_it_where_it_was_seen_and_nowhere_else(one: Track) -> None:
    (region,) = write(one)
    sdk = drawn_by_sdk(region)
    assert sorted(sdk) == one.frames.tolist()
    drawn = np.array([sdk[frame] for frame in one.frames.tolist()])
    off = np.abs(edges(drawn) - edges(one.boxes))
    sides = np.hstack([one.boxes[:, 2:], one.boxes[:, 2:]])
    assert (off <= np.minimum(TOLERANCE, RELATIVE_TOLERANCE * sides) + 1e-3).all()


@given(seen())
def test_what_is_written_is_read_as_the_sdk_expands_it(one: Track) -> None:
    (region,) = write(one)
    (read,) = read_tracks([region], CONTROL).found
    sdk = drawn_by_sdk(region)
    every = np.arange(1, int(one.frames[-1]) + 20)
    assert every[read.visible_at(every)].tolist() == sorted(sdk)
    ours = read.boxes_at(one.frames)[:, :4]
    np.testing.assert_allclose(ours, [sdk[frame] for frame in one.frames.tolist()], atol=1e-9)


@given(seen(), st.integers(64, 4000), st.integers(64, 4000))
@settings(max_examples=50)
def test_region_to_yolo_lines_to_detections_to_region(one: Track, width: int, height: int) -> None:
    """Of every frame a line; the boxes of them all are a track again."""
    (region,) = write(one)
    drawn = read_tracks([region], CONTROL).found
    found = [detections_at(frame, drawn, CONTROL, width, height) for frame in one.frames.tolist()]
    assume(all(map(len, found)))  # none so thin that it is no box
    words = [line.split() for each in found for line in label_lines(each, "detect")]
    assert [class_ for class_, *_ in words] == ["0"] * len(one.frames)
    boxes = xywhn_to_xyxy(np.array([numbers for _, *numbers in words], dtype=np.float64), width, height)
    (again,) = write(track(one.frames, xyxy_to_percent(boxes, width, height)))
    before, after = drawn_by_sdk(region), drawn_by_sdk(again)
    assert sorted(after) == sorted(before) == one.frames.tolist()
    shown = np.array([before[frame] for frame in one.frames.tolist()])
    off = np.abs(edges(np.array([after[frame] for frame in one.frames.tolist()])) - edges(shown))
    assert (off <= np.minimum(TOLERANCE, RELATIVE_TOLERANCE * np.hstack([shown[:, 2:]] * 2)) + 2e-3).all()


def keyframe(frame: int, x: float = 10.0, enabled: Any = True, **more: Any) -> dict[str, Any]:
    box = {"x": x, "y": 10.0, "width": 20.0, "height": 20.0, "rotation": 0.0, "time": frame / RATE}
    return {"frame": frame, "enabled": enabled} | box | more


def annotated(*keyframes: Any, labels: Any = ("Ship",), from_name: str = "box") -> dict[str, Any]:
    value = {"framesCount": 100, "duration": 4.0, "sequence": list(keyframes), "labels": list(labels)}
    return {"id": "r", "from_name": from_name, "to_name": "video", "type": "videorectangle", "value": value}


class TestReading:
    def test_the_last_keyframe_goes_on_while_it_is_enabled(self) -> None:
        (read,) = read_tracks([annotated(keyframe(3), keyframe(5, 20.0))], CONTROL).found
        frames = np.arange(1, 101)
        assert frames[read.visible_at(frames)].tolist() == list(range(3, 101))
        assert read.boxes_at(np.array([3, 4, 5, 90]))[:, 0].tolist() == [10, 15, 20, 20]
        assert drawn_by_sdk(annotated(keyframe(3), keyframe(5, 20.0))).keys() == set(range(3, 101))

    def test_a_keyframe_that_is_off_shows_in_its_own_frame(self) -> None:
        (read,) = read_tracks(
            [annotated(keyframe(2), keyframe(4, enabled=False), keyframe(8, enabled=False))], CONTROL
        ).found
        frames = np.arange(1, 12)
        assert frames[read.visible_at(frames)].tolist() == [2, 3, 4, 8]

    def test_keyframes_in_any_order(self) -> None:
        (read,) = read_tracks([annotated(keyframe(9, 30.0, enabled=False), keyframe(1))], CONTROL).found
        assert read.boxes_at(np.array([5]))[0, 0] == 20

    def test_rotation_takes_the_short_way_as_in_the_editor_and_not_as_in_the_sdk(self) -> None:
        sequence = [keyframe(1, rotation=170), keyframe(3, rotation=-170, enabled=False)]
        (read,) = read_tracks([annotated(*sequence)], CONTROL).found
        assert read.boxes_at(np.array([2]))[0, 4] == 180
        (expanded,) = extract_key_frames([annotated(*sequence)])
        assert {one["frame"]: one["rotation"] for one in expanded["value"]["sequence"]}[2] == 0

    def test_detections_of_one_frame(self) -> None:
        result = [
            annotated(keyframe(1), keyframe(11, 60.0, enabled=False)),
            annotated(keyframe(6), labels=["Car"]),
            annotated(keyframe(7), labels=["Car"]),
            annotated(keyframe(1), labels=["Plane"]),
            annotated(keyframe(1), from_name="kind"),
        ]
        drawn = read_tracks(result, CONTROL).found
        found = detections_at(6, drawn, CONTROL, 200, 100)
        assert found.xyxy.round(6).tolist() == [[70, 10, 110, 30], [20, 10, 60, 30]]
        assert found.classes.tolist() == [1, 0]
        assert found.tracks is not None
        assert found.tracks.tolist() == [0, 1]
        assert found.names == ("Car", "Ship")
        assert not len(detections_at(100, read_tracks(result[:1], CONTROL).found, CONTROL, 200, 100))

    def test_a_rotated_box_is_its_envelope_inside_the_frame(self) -> None:
        (read,) = read_tracks(
            [annotated(keyframe(1, 0.0, rotation=90.0, y=0.0, width=50.0, height=50.0))], CONTROL
        ).found
        assert not len(detections_at(1, [read], CONTROL, 200, 100)), "it is turned out of the frame"
        (read,) = read_tracks(
            [annotated(keyframe(1, 50.0, rotation=90.0, y=0.0, width=50.0, height=50.0))], CONTROL
        ).found
        assert detections_at(1, [read], CONTROL, 200, 100).xyxy.round(6).tolist() == [[50, 0, 100, 100]]

    @pytest.mark.parametrize(
        "region",
        [
            annotated(),
            annotated("keyframe", None, {"frame": 1}, keyframe(1, float("nan")), keyframe(1, 1e300)),
            annotated(keyframe(1), labels=[["Car"], None, 7]),
            {"from_name": "box", "value": None},
            {"from_name": "box", "value": {"sequence": {"frame": 1}, "labels": ["Car"]}},
            {},
        ],
        ids=["no keyframe", "broken keyframes", "broken labels", "no value", "no list", "nothing"],
    )
    def test_nonsense_is_left_out(self, region: dict[str, Any]) -> None:
        assert read_tracks([region], CONTROL).found == []
