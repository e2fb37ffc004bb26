"""Videos through the real decoder and trackers; ten lines, or real weights, see what is in them."""

import math
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface
from numpy.typing import NDArray
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS, ROOT, YAML

from infra.demo.samples import base_weights
from jobs.train.tracking_scores import TrackingCounts
from shared.errors import ImageError, ModelError, SettingsError
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions.tracks import Drawn, read_tracks
from shared.prediction.plan import Found, Plan, plan_control
from shared.prediction.ports import DeadlineExceeded, Image
from shared.prediction.video.predictor import VideoPredictor
from shared.prediction.video.spans import by_label, smoothed, steady
from shared.settings import Settings
from shared.yolo_task import YoloTask
from tests.fakes.predict_parts import FAR
from tests.samples.served_graphs import base_graph, quick_loader
from tests.samples.videos import with_variable_rate, write_video

SIZE = (160, 120)
GROUND = cv2.resize(np.random.default_rng(0).integers(60, 120, (15, 20, 1), dtype=np.uint8), SIZE)
"""Gray and uneven, so that a tracker can tell whether the camera moved."""
GREEN, RED = (0, 220, 0), (0, 0, 220)


def soon() -> float:
    """A deadline that strikes; until then a busy machine begins what is asked."""
    return time.monotonic() + 0.3


def config(rate: str = "25", **attributes: str) -> str:
    written = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return (
        f'<View><Video name="video" value="$video" frameRate="{rate}"/>'
        f'<VideoRectangle name="box" toName="video" {written}/>'
        '<Labels name="kind" toName="video"><Label value="Car"/><Label value="Ship"/></Labels></View>'
    )


TIMELINE = """<View><Video name="video" value="$video" frameRate="25"/><TimelineLabels name="phase" toName="video">
<Label value="Bright"/><Label value="Dark"/></TimelineLabels></View>"""


@dataclass(eq=False, slots=True)
class ColorModel:
    """Sees the largest green and red object in an image, or how bright it is."""

    names: tuple[str, ...] = ("Car", "Ship")
    batch: int = 4
    yolo_task: YoloTask = "detect"
    image_size: int = 640
    tiling: Tiling | None = None
    score: float = 0.9
    asked: list[tuple[float, float | None]] = field(default_factory=list)
    cancelled: "list[Future[Detections]]" = field(default_factory=list)
    stuck: bool = False

    def submit(
        self,
        image: Image,
        confidence: float,
        *,
        whole: tuple[int, int] | None = None,
        iou: float | None = None,
        outlined_from: float | None = 0.0,
        tiling: Tiling | None = None,
        deadline: float = math.inf,
    ) -> "Future[Detections]":
        self.asked.append((confidence, iou))
        future: Future[Detections] = Future()
        if self.stuck:
            self.cancelled.append(future)
        else:
            future.set_result(self._bright(image) if self.yolo_task == "classify" else self._objects(image))
        return future

    def _objects(self, image: Image) -> Detections:
        height, width = image.shape[:2]
        other = image[..., 0].astype(np.int64)
        boxes, classes = [], []
        for class_, channel in ((0, 1), (1, 2)):
            rows, columns = np.nonzero(image[..., channel] > other + 90)
            if len(rows) > 20:
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                classes.append(class_)
        xyxy = np.array(boxes, np.float64).reshape(-1, 4)
        return Detections(
            width, height, xyxy, np.full(len(xyxy), self.score), np.array(classes, dtype=np.int64), self.names
        )

    def _bright(self, image: Image) -> Detections:
        height, width = image.shape[:2]
        scores = np.roll([[0.8, 0.1, 0.1]], int(image.mean() // 86), axis=1)
        whole = np.array([[0.0, 0.0, width, height]])
        return Detections(width, height, whole, scores.max(1), scores.argmax(1), self.names, class_scores=scores)


@dataclass(frozen=True, slots=True)
class Files:
    """A task's value is the path."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        return Path(str(value)).read_bytes()


def plan(xml: str, model: Any, *, trained: bool = True, **settings: Any) -> Plan:
    (control,) = parse_label_config(xml)
    return plan_control(control, model.names, trained=trained, settings=Settings(**settings))


def predict(
    path: Path, xml: str, model: Any, *, trained: bool = True, deadline: float = FAR, data: Any = None
) -> Found:
    found = VideoPredictor(Files(), max_pixels=10**7).regions(
        plan(xml, model, trained=trained), model, str(path), task_id=1, deadline=deadline, data=data or {}
    )
    whole = {"result": found.regions, "score": 0.5, "model_version": "v"}
    assert LabelInterface(xml).validate_prediction(whole, True) == []
    return found


def scene(*objects: tuple[tuple[int, int, int], tuple[float, float]]) -> NDArray[np.uint8]:
    """Squares of 20 pixels: color, and top-left corner."""
    image = np.repeat(GROUND[..., None], 3, axis=2).astype(np.uint8)
    for color, (x, y) in objects:
        cv2.rectangle(image, (round(x), round(y)), (round(x) + 19, round(y) + 19), color, -1)
    return image


def flight(count: int = 50) -> Iterator[NDArray[np.uint8]]:
    """A green square flies to the right; a red one comes at frame 11, stands, and is gone after frame 40."""
    for number in range(count):
        red = [(RED, (100, 80))] if 10 <= number < 40 else []
        yield scene((GREEN, (10 + 2 * number, 20)), *red)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "flight.webm", flight())


def boxes(region: dict[str, Any], xml: str, frames: list[int]) -> NDArray[np.float64]:
    (drawn,) = read_tracks([region], parse_label_config(xml)[0]).found
    assert drawn.visible_at(np.array(frames)).all()
    return drawn.boxes_at(np.array(frames))[:, :4]


def visible(region: dict[str, Any], xml: str) -> list[int]:
    (drawn,) = read_tracks([region], parse_label_config(xml)[0]).found
    assert isinstance(drawn, Drawn)
    frames = np.arange(1, region["value"]["framesCount"] + 1)
    there: list[int] = frames[drawn.visible_at(frames)].tolist()
    return there


class TestTracks:
    @pytest.mark.parametrize("tracker", ["botsort", "bytetrack"])
    def test_each_thing_is_one_region_of_few_keyframes(self, flown: Path, tracker: str) -> None:
        xml = config(model_tracker=tracker)
        found = predict(flown, xml, ColorModel())
        green, red = found.regions
        assert [region["value"]["labels"] for region in (green, red)] == [["Car"], ["Ship"]]
        assert green["value"]["framesCount"] == 50
        assert green["value"]["duration"] == pytest.approx(2.0)
        assert visible(green, xml) == list(range(1, 51))
        # A track that begins later is believed at its second frame.
        assert visible(red, xml) == list(range(12, 41))
        assert len(green["value"]["sequence"]) <= 5
        assert len(red["value"]["sequence"]) == 2
        percent = [[(10 + 2 * n) / 1.6, 20 / 1.2, 20 / 1.6, 20 / 1.2] for n in (0, 24, 49)]
        np.testing.assert_allclose(boxes(green, xml, [1, 25, 50]), percent, atol=2.5)
        assert found.shown == pytest.approx([0.9, 0.9], abs=0.01)

    @pytest.mark.parametrize(("rate", "data"), [("10", {}), ("$fps", {"fps": 10}), ("50", {})])
    def test_frames_are_counted_as_label_studio_does(self, flown: Path, rate: str, data: dict[str, Any]) -> None:
        """The file has 25 a second. Frame f of Label Studio is what is on the screen at second (f − 1) / rate."""
        per_second = 50 if rate == "50" else 10
        xml = config(rate)
        green, red = predict(flown, xml, ColorModel(), data=data).regions
        assert green["value"]["framesCount"] == 2 * per_second
        assert green["value"]["sequence"][-1]["time"] == pytest.approx(2.0)
        second = (np.array(visible(red, xml)) - 1) / per_second
        assert 11 / 25 <= second.min() < 11 / 25 + 1 / per_second
        assert 40 / 25 - 1 / per_second <= second.max() + 0.001 < 40 / 25

    def test_the_threshold_of_the_control_counts(self, flown: Path) -> None:
        faint = ColorModel(score=0.15)
        hidden = predict(flown, config(), faint)
        assert (hidden.regions, list(hidden.shown), list(hidden.hidden)) == ([], [], pytest.approx([0.15]))
        assert len(predict(flown, config(model_conf="0.1", model_iou="0.4"), faint).regions) == 2
        strict = predict(flown, config(model_score_threshold="0.95"), ColorModel())
        assert (strict.regions, list(strict.hidden)) == ([], pytest.approx([0.9]))
        assert set(faint.asked) == {(0.1, 0.7), (0.1, 0.4)}

    def test_a_class_without_a_label_is_left_out(self, flown: Path) -> None:
        (only,) = predict(flown, config(), ColorModel(names=("Car", "ship"))).regions
        assert only["value"]["labels"] == ["Car"]

    def test_proposals_have_no_label(self, flown: Path) -> None:
        found = predict(flown, config(), ColorModel(names=("a", "b")), trained=False)
        assert ["labels" in region["value"] for region in found.regions] == [False, False]

    def test_no_other_tracker_than_two(self, flown: Path, tmp_path: Path) -> None:
        """`model.track()` would read any YAML file that the labeling config names."""
        (tmp_path / "tracker.yaml").write_text("tracker_type: nonsense")
        for name in (str(tmp_path / "tracker"), "../../trackers/bytetrack", "deepocsort"):
            assert len(predict(flown, config(model_tracker=name), ColorModel()).regions) == 2

    def test_without_the_extra_the_remedy_is_said(self, flown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "trackers", None)
        with pytest.raises(SettingsError, match=r"pip install 'labelloop\[video\]'"):
            predict(flown, config(), ColorModel())

    def test_following_needs_no_torch(self) -> None:
        code = (
            "import sys; from shared.inference.tracker import Tracker; Tracker('botsort', 0.25);"
            "print({'torch', 'ultralytics'} & {*sys.modules})"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "empty.webm", [scene()] * 5)
        assert predict(path, config(), ColorModel()) == ([], [], [0.0])

    def test_the_deadline_leaves_nothing_behind(self, flown: Path) -> None:
        model, before = ColorModel(stuck=True), threading.active_count()
        with pytest.raises(DeadlineExceeded, match="LABELLOOP_PREDICT_DEADLINE"):
            predict(flown, config(), model, deadline=soon())
        assert threading.active_count() == before
        assert model.cancelled
        assert all(future.cancelled() for future in model.cancelled)

    def test_the_deadline_holds_where_not_the_model_is_slow(self, flown: Path) -> None:
        ends = soon()

        class Instant(ColorModel):
            def _objects(self, image: Image) -> Detections:
                threading.Event().wait(ends - time.monotonic())  # decoding takes its time
                return ColorModel._objects(self, image)

        with pytest.raises(DeadlineExceeded, match="second 0"):
            predict(flown, config(), Instant(), deadline=ends)

    def test_few_frames_wait_for_the_model(self, flown: Path) -> None:
        model = ColorModel(stuck=True, batch=3)
        with pytest.raises(DeadlineExceeded):
            predict(flown, config(), model, deadline=soon())
        assert len(model.asked) == 7

    def test_large_frames_wait_for_the_model_by_their_bytes(self, tmp_path: Path) -> None:
        """In 4K a frame takes 25 MB."""
        large = write_video(tmp_path / "large.avi", [np.zeros((2160, 3840, 3), np.uint8)] * 7, codec="MJPG")
        model = ColorModel(stuck=True, batch=32)
        with pytest.raises(DeadlineExceeded):
            predict(large, config(), model, deadline=soon())
        assert len(model.asked) == 5

    def test_two_videos_at_once(self, flown: Path) -> None:
        """The third and fourth one wait, and their files are not even fetched."""
        model, leave = ColorModel(), threading.Event()
        begun: queue.Queue[int | None] = queue.Queue()

        class Noting(Files):
            def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
                begun.put(task_id)
                assert leave.wait(30)
                return super().fetch(value, task_id=task_id, deadline=deadline)

        predictor = VideoPredictor(Noting(), max_pixels=10**7)

        def ask(number: int, deadline: float) -> Found:
            return predictor.regions(
                plan(config(), model), model, str(flown), task_id=number, deadline=deadline, data={}
            )

        with ThreadPoolExecutor(4) as threads:
            first = [threads.submit(ask, number, FAR) for number in range(2)]
            assert {begun.get(timeout=30) for _ in first} == {0, 1}
            later = [threads.submit(ask, number, soon()) for number in range(2, 4)]
            assert all(isinstance(one.exception(30), DeadlineExceeded) for one in later)
            leave.set()
            assert [len(one.result(60).regions) for one in first] == [2, 2]
        assert begun.empty()

    def test_a_failing_model_fails_the_task(self, flown: Path) -> None:
        class Broken(ColorModel):
            def _objects(self, image: Image) -> Detections:
                raise ModelError("no")

        with pytest.raises(ModelError):
            predict(flown, config(), Broken())

    def test_no_video(self, tmp_path: Path) -> None:
        (tmp_path / "page").write_text("<html>")
        with pytest.raises(ImageError):
            predict(tmp_path / "page", config(), ColorModel())


@pytest.mark.parametrize("tracker", ["botsort", "bytetrack"])
def test_tracks_are_much_like_those_of_model_track(tmp_path: Path, tracker: str) -> None:
    """Real weights on a photograph that a camera pans over, with ultralytics' own `track()` as the oracle."""
    photograph = cv2.imread(str(ASSETS / "bus.jpg"))
    assert photograph is not None
    views = [photograph[100 + 6 * n : 900 + 6 * n, 2 * n : 760 + 2 * n] for n in range(8)]
    path = write_video(tmp_path / "pan.webm", [cv2.resize(view, (380, 400)).astype(np.uint8) for view in views])
    settings = YAML.load(ROOT / "cfg" / "trackers" / f"{tracker}.yaml")
    settings |= dict.fromkeys(("track_high_thresh", "new_track_thresh", "track_low_thresh"), 0.05)
    settings["fuse_score"] = False
    YAML.save(tmp_path / f"{tracker}.yaml", settings)
    oracle = YOLO(base_weights(), task="detect")
    results = oracle.track(
        str(path), conf=0.05, iou=0.7, imgsz=320, tracker=str(tmp_path / f"{tracker}.yaml"), verbose=False, stream=True
    )
    expected: dict[int, dict[int, NDArray[np.float64]]] = {}
    for number, result in enumerate(results, 1):
        seen_there = result.boxes
        assert seen_there is not None
        for row in np.asarray(seen_there.data) if seen_there.is_track else ():
            expected.setdefault(int(row[4]), {})[number] = row[:4]
    model = quick_loader(image_size=320).load_base(str(base_graph(tmp_path / "graph")))
    xml = config(model_tracker=tracker, model_conf="0.05")
    every_class = replace(plan(xml, model), labels=("Car",) * len(model.names))
    found = VideoPredictor(Files(), max_pixels=10**7).regions(
        every_class, model, str(path), task_id=1, deadline=FAR, data={}
    )
    assert len(expected) >= 10
    counts = TrackingCounts()
    counts.add(
        (tracked(number, expected), tracked(number, dict(enumerate(drawn_boxes(found.regions, xml)))))
        for number in range(1, 9)
    )
    assert counts.scores()["IDF1"] > 0.9


def drawn_boxes(regions: list[dict[str, Any]], xml: str) -> list[dict[int, NDArray[np.float64]]]:
    """For each region the corners in pixels by frame."""
    every = []
    for region in regions:
        frames = visible(region, xml)
        x, y, width, height = (boxes(region, xml, frames) / 100 * [380, 400, 380, 400]).T
        every.append(dict(zip(frames, np.stack([x, y, x + width, y + height], 1), strict=True)))
    return every


def tracked(number: int, tracks: dict[int, dict[int, NDArray[np.float64]]]) -> Detections:
    """The boxes of tracks in one frame."""
    there = [(track, by_frame[number]) for track, by_frame in tracks.items() if number in by_frame]
    xyxy = np.clip([box for _, box in there], 0, 400).reshape(-1, 4) if there else np.zeros((0, 4))
    tracks_there = np.array([track for track, _ in there], dtype=np.int64)
    return Detections.annotated(380, 400, xyxy, np.zeros(len(there)), ("Car",), tracks=tracks_there)


def test_a_thing_stays_as_long_as_the_last_frame_stands(tmp_path: Path) -> None:
    frames = [scene((GREEN, (40 + 2 * number, 50))) for number in range(11)]
    path = with_variable_rate(write_video(tmp_path / "screen.mp4", frames, codec="mp4v"), [0.1] * 10 + [3.0])
    (region,) = predict(path, config(), ColorModel()).regions
    assert (region["value"]["framesCount"], region["value"]["duration"]) == (100, pytest.approx(4.0))
    assert visible(region, config())[-1] == 100


@pytest.fixture(scope="module")
def blinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright, then dim for a second (nothing), then dark; one flash in the dark."""
    levels = [200] * 40 + [120] * 25 + [20] * 20 + [200] * 3 + [20] * 12
    frames = (np.full((48, 64, 3), level, np.uint8) for level in levels)
    return write_video(tmp_path_factory.mktemp("video") / "blinking.webm", frames)


class TestSpans:
    def model(self) -> ColorModel:
        """Its classes, by brightness: dark, none, bright."""
        return ColorModel(names=("Dark", "", "Bright"), yolo_task="classify")

    def test_spans_of_labels_and_none_of_nothing(self, blinking: Path) -> None:
        found = predict(blinking, TIMELINE, self.model())
        spans = [(one["value"]["ranges"], one["value"]["timelinelabels"]) for one in found.regions]
        (((first,), bright), ((second,), dark)) = spans
        assert (bright, dark) == (["Bright"], ["Dark"])
        assert first["start"] == 1
        assert first["end"] == pytest.approx(40, abs=3)
        assert second["start"] == pytest.approx(66, abs=3)
        assert second["end"] == 100
        assert all(0.5 < score <= 0.8 for score in found.shown)
        assert max(found.hidden) < 0.5

    def test_not_every_frame_is_looked_at(self, blinking: Path) -> None:
        model = self.model()
        predict(blinking, TIMELINE, model)
        assert 40 <= len(model.asked) <= 43  # ten a second, of 100 frames in four seconds

    def test_spans_of_a_variable_frame_rate_are_looked_up_by_time(self, tmp_path: Path) -> None:
        """A screen recording: a burst of frames, then one that stands for seconds. On average 7 frames a second."""
        levels = [120] * 20 + [200] * 2 + [120] * 20 + [20] * 2 + [120] * 20
        seconds = [0.01] * 19 + [0.2, 3.0, 3.0] + [0.01] * 19 + [0.2, 1.5, 0.5] + [0.01] * 20
        frames = (np.full((48, 64, 3), level, np.uint8) for level in levels)
        path = with_variable_rate(write_video(tmp_path / "screen.mp4", frames, codec="mp4v"), seconds)
        model = self.model()
        found = predict(path, TIMELINE, model)
        spans = [(one["value"]["ranges"][0], one["value"]["timelinelabels"]) for one in found.regions]
        (first, bright), (second, dark) = spans
        assert (bright, dark) == (["Bright"], ["Dark"])
        for span, begin, end in ((first, 0.39, 6.39), (second, 6.78, 8.78)):
            assert span["start"] == pytest.approx(begin * 25 + 1, abs=4)
            assert span["end"] == pytest.approx(end * 25, abs=4)
        assert len(model.asked) < 20  # what stands is looked at once

    def test_a_span_lasts_as_long_as_the_last_frame_stands(self, tmp_path: Path) -> None:
        """As Label Studio shows it, and as a training learns from it."""
        frames = (np.full((48, 64, 3), level, np.uint8) for level in [20] * 40 + [200])
        path = with_variable_rate(write_video(tmp_path / "screen.mp4", frames, codec="mp4v"), [0.05] * 40 + [3.0])
        dark, bright = (one["value"]["ranges"][0] for one in predict(path, TIMELINE, self.model()).regions)
        assert (dark["start"], bright["end"]) == (1, 125)
        assert dark["end"] == bright["start"] - 1 == pytest.approx(50, abs=3)

    def test_a_model_that_knows_no_label_is_not_asked(self, blinking: Path) -> None:
        model = ColorModel(names=("tench", "goldfish", "shark"), yolo_task="classify")
        assert predict(blinking, TIMELINE, model, trained=False) == ([], [0.0], [])
        assert not model.asked

    def test_one_frame(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "one.webm", [np.full((48, 64, 3), 200, np.uint8)])
        (only,) = predict(path, TIMELINE, self.model()).regions
        assert only["value"] == {"ranges": [{"start": 1, "end": 1}], "timelinelabels": ["Bright"]}


def test_scores_of_classes_that_mean_one_label_are_at_most_1() -> None:
    model = ColorModel(names=("Dark", "also dark", "Bright"), yolo_task="classify")
    both = replace(plan(TIMELINE, model), labels=("Dark", "Dark", "Bright"))
    table = by_label(np.array([[0.7, 0.3000001, 0.0]]), both, ("Dark", "Bright"))
    assert table.tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ("aaaaa", "aaaaa"),
        ("aa.", "..."),
        ("aaa..aaa", "aaaaaaaa"),
        ("aaa...aaa", "aaa...aaa"),
        ("aaabaaa", "aaaaaaa"),
        ("aaabbaa", "aaaaaaa"),
        ("aaabbccc", "aaa..ccc"),
        ("..b..", "....."),
    ],
)
def test_flicker(labels: str, expected: str) -> None:
    numbers = np.array([".abc".index(one) - 1 for one in labels], dtype=np.int64)
    assert "".join(".abc"[number + 1] for number in steady(numbers).tolist()) == expected


def test_the_mean_of_a_constant_is_itself() -> None:
    np.testing.assert_allclose(smoothed(np.full((7, 2), 0.3)), 0.3)
    assert smoothed(np.eye(9)[:, 4:5]).round(3).ravel().tolist() == [0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0]
