"""Annotations of videos that cannot be used leave their video out; phantoms of Label Studio's page say nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.train.data.samples import Sample
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.video_frames import video_samples
from shared.errors import ImageError
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import is_used
from tests.samples.videos import write_video

LABELS = '<Label value="Plane"/><Label value="Ship"/>'
CONFIG = f"""<View><Video name="video" value="$video" frameRate="10"/><VideoRectangle name="box" toName="video"/>
<Labels name="kind" toName="video">{LABELS}</Labels>
<TimelineLabels name="phase" toName="video">{LABELS}<Label value="Pause"/></TimelineLabels></View>"""
TRACKS, PHASES = parse_label_config(CONFIG)
NAN = float("nan")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 64 × 48."""
    return write_video(tmp_path_factory.mktemp("film") / "film.avi", [np.zeros((48, 64, 3), np.uint8)] * 20, fps=10)


def learnt(regions: list[dict[str, Any]], control: Control, film: Path, folder: Path) -> list[Sample]:
    kept = json.loads(json.dumps(regions))
    task = SnapshotTask(id=7, annotation=1, updated_at=None, split="train", data={}, regions=kept)
    return video_samples(task, control, film, folder, max_pixels=10**6, image_size=64)


def left_out(regions: list[dict[str, Any]], control: Control, film: Path, folder: Path) -> str:
    with pytest.raises(ImageError) as error:
        learnt(regions, control, film, folder)
    assert error.value.reason == "unusable"
    return str(error.value)


def keyframe(frame: Any, **more: Any) -> dict[str, Any]:
    return {"frame": frame, "enabled": True, "rotation": 0, "x": 25, "y": 25, "width": 50, "height": 50} | more


def track(*keyframes: Any, labels: Any = ("Plane",), **more: Any) -> dict[str, Any]:
    value = {"sequence": list(keyframes), "labels": list(labels), "framesCount": 20, "duration": 2}
    return {"id": "t", "from_name": "box", "to_name": "video", "type": "videorectangle", "value": value} | more


def spans(*ranges: Any, labels: Any = ("Plane",)) -> dict[str, Any]:
    value = {"ranges": list(ranges), "timelinelabels": list(labels)}
    return {"id": "s", "from_name": "phase", "to_name": "video", "type": "timelinelabels", "value": value}


def span(start: Any, end: Any) -> dict[str, Any]:
    return {"start": start, "end": end}


GOOD = track(keyframe(1))
PHANTOM = {**GOOD, "from_name": "phase", "type": "timelinelabels"}
PHANTOM["value"] = {"framesCount": 20, "duration": 2, "sequence": [keyframe(1)], "timelinelabels": ["Plane"]}


@pytest.mark.parametrize("down", [1, -1])
@pytest.mark.parametrize("across", [1, -1])
def test_keyframes_with_sides_of_less_than_nothing(film: Path, tmp_path: Path, across: int, down: int) -> None:
    """Between keyframes of different signs Label Studio's page moves the corners, as here."""
    x, y = 25 if across > 0 else 75, 25 if down > 0 else 75
    one = track(keyframe(1, x=x, y=y, width=50 * across, height=50 * down))
    samples = learnt([one], TRACKS, film, tmp_path)
    assert [sample.found.xyxy.tolist() for sample in samples] == [[[16, 12, 48, 36]]] * 20


@pytest.mark.parametrize("value", [None, "abc", NAN, [], {}, 1e300, 10**400])
@pytest.mark.parametrize("key", ["frame", "x", "y", "width", "height", "rotation"])
def test_broken_keyframes(film: Path, tmp_path: Path, key: str, value: Any) -> None:
    """One of them would draw the box elsewhere in all frames around it."""
    if key == "rotation" and not value:
        assert len(learnt([track(keyframe(1, rotation=value))], TRACKS, film, tmp_path)) == 20
        return
    broken = track(keyframe(1), keyframe(5) | {key: value}, keyframe(9))
    assert "'t' ('Plane')" in left_out([broken], TRACKS, film, tmp_path)
    left_out([track(keyframe(1), id="good"), broken], TRACKS, film, tmp_path)


@pytest.mark.parametrize(
    "broken",
    [
        track(),
        track(keyframe(1.5)),
        track("keyframe"),
        track(keyframe(1, width=0), keyframe(9, height=0)),
        pytest.param(track(keyframe(1, x=100), keyframe(9, y=-50)), id="never inside the frame"),
        pytest.param(track(keyframe(21)), id="after the end"),
        track(keyframe(1), labels=[["Plane"]]),
        GOOD | {"value": {"sequence": "abc", "labels": ["Plane"]}},
        GOOD | {"value": {"labels": ["Plane"]}},
    ],
)
def test_tracks_that_cannot_be_used(film: Path, tmp_path: Path, broken: dict[str, Any]) -> None:
    left_out([broken], TRACKS, film, tmp_path)
    left_out([track(keyframe(1), id="good"), broken], TRACKS, film, tmp_path)


@pytest.mark.parametrize("labels", [[], ["Bird"]])
def test_tracks_without_a_known_label(film: Path, tmp_path: Path, labels: list[str]) -> None:
    left_out([track(keyframe(1), labels=labels)], TRACKS, film, tmp_path)
    assert len(learnt([GOOD, track(keyframe(1), labels=labels)], TRACKS, film, tmp_path)) == 20


@pytest.mark.parametrize(
    "broken",
    [
        spans(span(9, 3)),
        spans(span(1.5, 3)),
        spans(span(1, None)),
        spans(span(1, NAN)),
        spans(span(1, 10**400)),
        spans(span(1, 3), None),
        spans("1-3"),
        spans({"start": 1}),
        spans(span(1, 3), labels=[["Plane"]]),
        pytest.param(spans(span(30, 40)), id="after the end"),
        pytest.param({**spans(), "value": {"ranges": span(1, 3), "timelinelabels": ["Plane"]}}, id="no list"),
    ],
)
def test_spans_that_cannot_be_used(film: Path, tmp_path: Path, broken: dict[str, Any]) -> None:
    left_out([broken], PHASES, film, tmp_path)
    left_out([spans(span(11, 20)), broken], PHASES, film, tmp_path)


def classes(samples: list[Sample]) -> list[str]:
    return [sample.found.names[int(sample.found.classes[0])] for sample in samples]


def test_a_phantom_is_no_use_of_its_control_and_no_video_of_nothing(film: Path, tmp_path: Path) -> None:
    """Label Studio's page stores it beside a box if a label of the timeline was selected meanwhile."""
    assert not is_used([GOOD, PHANTOM], PHASES)
    assert is_used([GOOD, PHANTOM], TRACKS)
    assert is_used([spans(span(1, 3))], PHASES)
    left_out([GOOD, PHANTOM], PHASES, film, tmp_path)
    assert len(learnt([GOOD, PHANTOM], TRACKS, film, tmp_path)) == 20
    both = [GOOD, PHANTOM, spans(span(1, 5))]
    assert classes(learnt(both, PHASES, film, tmp_path)) == ["Plane"] * 5 + [""] * 15


def test_a_label_that_only_the_other_control_of_the_video_has(film: Path, tmp_path: Path) -> None:
    left_out([GOOD], PHASES, film, tmp_path)
    left_out([spans(span(1, 5))], TRACKS, film, tmp_path)
    assert classes(learnt([spans(span(1, 5), labels=["Pause"])], PHASES, film, tmp_path)) == ["Pause"] * 5 + [""] * 15
    assert not len(learnt([spans(span(1, 5), labels=["Pause"])], TRACKS, film, tmp_path)[0].found)


def test_an_empty_annotation_is_still_a_video_of_nothing(film: Path, tmp_path: Path) -> None:
    assert classes(learnt([], PHASES, film, tmp_path)) == [""] * 20
    assert not len(learnt([], TRACKS, film, tmp_path)[0].found)
