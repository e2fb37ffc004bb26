"""Frames that are taken from annotated videos, checked against what is to be seen in them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from infra.demo.drawn import FRAME_RATE, calls, videos
from infra.demo.regions import annotated
from jobs.train.data.samples import Sample
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.video_frames import MAX_FRAMES_A_VIDEO, spread, video_samples
from jobs.train.data.yolo_labels import label_lines
from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from tests.samples.videos import with_variable_rate, write_video

VIDEO = '<Video name="video" value="$video" frameRate="{rate}"/>'
TRACKS = """<VideoRectangle name="box" toName="video"/>
<Labels name="kind" toName="video"><Label value="Cargo"/><Label value="Mail"/></Labels>"""
PHASES = '<TimelineLabels name="phase" toName="video"><Label value="Cargo"/><Label value="Mail"/></TimelineLabels>'


def control(tags: str, rate: str = "10") -> Control:
    return parse_label_config(f"<View>{VIDEO.format(rate=rate)}{tags}</View>")[0]


def task(regions: list[dict[str, Any]], data: dict[str, Any] | None = None) -> SnapshotTask:
    return SnapshotTask(id=7, annotation=1, updated_at=None, split="train", data=data or {}, regions=regions)


def sampled(
    regions: list[dict[str, Any]], control: Control, video: Path, folder: Path, data: dict[str, Any] | None = None
) -> list[Sample]:
    return video_samples(task(regions, data), control, video, folder, max_pixels=10**6, image_size=640)


def box(*keyframes: tuple[int, float, bool]) -> dict[str, Any]:
    sequence = [
        {"frame": frame, "enabled": enabled, "rotation": 0, "x": x, "y": 25.0, "width": 25.0, "height": 25.0}
        for frame, x, enabled in keyframes
    ]
    return {"from_name": "box", "type": "videorectangle", "value": {"sequence": sequence, "labels": ["Mail"]}}


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames at 25 a second; a bar in a frame is as many pixels wide as its index."""

    def frame(number: int) -> NDArray[np.uint8]:
        image = np.zeros((48, 128, 3), np.uint8)
        image[:, :number] = 255
        return image

    return write_video(tmp_path_factory.mktemp("video") / "counting.webm", map(frame, range(100)))


def index_of(image: Path) -> int:
    pixels = cv2.imread(str(image))
    assert pixels is not None
    return int((pixels.mean(axis=(0, 2)) > 128).sum())


def of(samples: list[Any]) -> dict[int, Detections]:
    return {int(sample.name.removeprefix("7-")): sample.found for sample in samples}


def test_large_frames_are_kept_small_and_boxes_stay_in_their_place(counting: Path, tmp_path: Path) -> None:
    """Frames of 128×48 for a model that sees 32 pixels."""
    drawn, tracks = box((1, 50.0, True), (10, 50.0, False)), control(TRACKS)
    large, small = (
        video_samples(task([drawn]), tracks, counting, tmp_path, max_pixels=10**6, image_size=size)[0]
        for size in (640, 32)
    )
    assert label_lines(small.found, "detect") == label_lines(large.found, "detect")
    shown = cv2.imread(str(small.image))
    assert shown is not None
    assert shown.shape == (24, 64, 3)


def test_boxes_lie_on_the_things_in_the_frames(tmp_path: Path) -> None:
    """Annotated by keyframes, of a film in which they fly: between them, too."""
    (film,) = videos(1, 320, 240, frames=40)
    tracks = control(TRACKS)
    (tmp_path / "film.webm").write_bytes(film.data)
    samples = sampled(annotated(film, tracks), tracks, tmp_path / "film.webm", tmp_path)
    assert [sample.name for sample in samples] == [f"7-{number}" for number in range(1, 41)]
    keyframes = {one["frame"] for region in annotated(film, tracks) for one in region["value"]["sequence"]}
    assert len(keyframes) < 10
    for sample, expert in zip(samples, film.expert, strict=True):
        np.testing.assert_allclose(sample.found.xyxy, expert.xyxy, atol=3.3)  # 1 % of the frame
        assert sample.found.classes.tolist() == expert.classes.tolist()
        assert len(label_lines(sample.found, "detect")) == 2


def test_few_frames_of_a_long_video_and_some_of_them_empty(counting: Path, tmp_path: Path) -> None:
    samples = sampled([box((11, 0.0, True), (91, 50.0, False))], control(TRACKS, "25"), counting, tmp_path)
    found = of(samples)
    filled = [number for number, one in found.items() if len(one)]
    assert len(filled) == MAX_FRAMES_A_VIDEO
    assert (filled[0], filled[-1]) == (11, 91)
    empty = sorted(set(found) - set(filled))
    assert len(empty) == MAX_FRAMES_A_VIDEO // 10
    assert all(number < 11 or number > 91 for number in empty)
    middle = filled[MAX_FRAMES_A_VIDEO // 2]
    left = 128 * (middle - 11) / 80 * 0.5
    np.testing.assert_allclose(found[middle].xyxy, [[left, 12, left + 32, 24]])
    assert [index_of(sample.image) for sample in samples] == [number - 1 for number in found]


@pytest.mark.parametrize(("rate", "data"), [("10", {}), ("$meta.fps", {"$meta.fps": "10"})])
def test_a_frame_is_what_the_annotator_saw(counting: Path, tmp_path: Path, rate: str, data: dict[str, Any]) -> None:
    """Label Studio counts 10 a second in a file of 25."""
    samples = sampled([box((1, 0.0, True))], control(TRACKS, rate), counting, tmp_path, data)
    numbers = np.array(list(of(samples)))
    assert numbers.tolist() == list(range(1, 41))
    assert [index_of(sample.image) for sample in samples] == ((numbers - 1) * 25 // 10).tolist()


def test_an_annotation_without_boxes_is_one_empty_frame(counting: Path, tmp_path: Path) -> None:
    (sample,) = sampled([], control(TRACKS, "25"), counting, tmp_path)
    assert not len(sample.found)


def test_frames_that_a_cut_off_file_has_no_more_are_not_learnt_from(
    counting: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They would be boxes on another picture."""
    data = counting.read_bytes()
    (tmp_path / "half.webm").write_bytes(data[: len(data) // 2])
    samples = sampled([box((1, 0.0, True))], control(TRACKS, "25"), tmp_path / "half.webm", tmp_path)
    numbers = list(of(samples))
    assert 10 < len(numbers) < MAX_FRAMES_A_VIDEO - 5
    shown = [index_of(sample.image) for sample in samples]
    assert all(index == min(number - 1, shown[-1]) for index, number in zip(shown, numbers, strict=True))
    assert numbers[-1] - 1 - shown[-1] < 13, "half a second may stand still"
    assert f"{MAX_FRAMES_A_VIDEO - len(numbers)} frames are not used" in caplog.text


def test_too_many_pixels(counting: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="more than 100"):
        video_samples(task([]), control(TRACKS), counting, tmp_path, max_pixels=100, image_size=640)


def span(start: int, end: int, label: str) -> dict[str, Any]:
    return {"from_name": "phase", "value": {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]}}


def test_moments_of_each_label_and_of_none(counting: Path, tmp_path: Path) -> None:
    phases = control(PHASES, "25")
    regions = [span(1, 10, "Mail"), span(8, 12, "Cargo"), span(99, 1000, "Mail")]
    samples = sampled(regions, phases, counting, tmp_path)
    classes = {number: int(found.classes[0]) for number, found in of(samples).items()}
    assert [number for number, class_ in classes.items() if class_ == 1] == [*range(1, 8), 99, 100]
    assert [number for number, class_ in classes.items() if class_ == 0] == [11, 12], "not those that both share"
    nothing = [number for number, class_ in classes.items() if class_ == 2]
    assert len(nothing) == MAX_FRAMES_A_VIDEO
    assert (nothing[0], nothing[-1]) == (13, 98)
    found = samples[0].found
    assert found.names == ("Cargo", "Mail", "")
    assert found.class_scores is not None
    assert found.class_scores.tolist() == [[0, 1, 0]]


def test_moments_of_a_film(tmp_path: Path) -> None:
    (film,) = calls(1, 320, 240, frames=30)
    phases = control(PHASES, f"{FRAME_RATE:g}")
    (tmp_path / "film.webm").write_bytes(film.data)
    samples = sampled(annotated(film, phases), phases, tmp_path / "film.webm", tmp_path)
    assert [int(one.found.classes[0]) for one in samples] == [int(expert.classes[0]) for expert in film.expert]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A screen recording: a frame of 4 s, ten in one second, and a last one that stands for 5 s. Bars as above."""
    frames = [np.zeros((48, 128, 3), np.uint8) for _ in range(12)]
    for number, image in enumerate(frames):
        image[:, : 10 * number] = 255
    path = write_video(tmp_path_factory.mktemp("video") / "screen.mp4", frames, codec="mp4v")
    return with_variable_rate(path, [4.0] + [0.1] * 10 + [5.0])


def test_boxes_of_a_variable_frame_rate_lie_where_they_were_drawn(recording: Path, tmp_path: Path) -> None:
    """Label Studio counts 20 a second, 200 in all."""
    samples = sampled([box((71, 0.0, True), (170, 0.0, False))], control(TRACKS, "20"), recording, tmp_path)
    found = of(samples)
    filled = [number for number, one in found.items() if len(one)]
    assert (len(filled), filled[0], filled[-1], max(found)) == (MAX_FRAMES_A_VIDEO, 71, 170, 200)
    begins = np.array([0.0, *(4.0 + 0.1 * np.arange(11))])
    on_screen = np.searchsorted(begins, (np.array(list(found)) - 1) / 20 + 0.002, side="right") - 1
    shown = np.array([index_of(sample.image) for sample in samples]) / 10
    np.testing.assert_allclose(shown, on_screen, atol=0.3)


def test_spans_of_a_variable_frame_rate_are_learnt_to_their_end(recording: Path, tmp_path: Path) -> None:
    regions = [span(1, 80, "Mail"), span(150, 200, "Cargo")]
    classes = {
        number: int(one.classes[0])
        for number, one in of(sampled(regions, control(PHASES, "20"), recording, tmp_path)).items()
    }
    of_class = [[number for number, one in classes.items() if one == class_] for class_ in range(3)]
    assert [(one[0], one[-1]) for one in of_class] == [(150, 200), (1, 80), (81, 149)]


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x1a\x45\xdf\xa3 and so on"])
def test_no_video(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "film").write_bytes(data)
    with pytest.raises(ImageError):
        sampled([], control(TRACKS), tmp_path / "film", tmp_path)


def test_too_small_to_learn_from(tmp_path: Path) -> None:
    path = write_video(tmp_path / "tiny.avi", [np.zeros((8, 64, 3), np.uint8)] * 2, codec="MJPG")
    with pytest.raises(ImageError, match="64×8"):
        sampled([], control(TRACKS), path, tmp_path)


@given(st.integers(0, 300), st.integers(1, 70))
def test_evenly(count: int, most: int) -> None:
    frames = np.arange(count) * 3
    taken = spread(frames, most)
    assert len(taken) == min(count, most)
    assert set(taken) <= set(frames)
    if len(taken) > 2:
        assert (taken[0], taken[-1]) == (frames[0], frames[-1])
        assert np.ptp(np.diff(taken)) <= 3
