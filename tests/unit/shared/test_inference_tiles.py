"""Large pictures in tiles, by an engine that sees what is painted into them."""

import time
from concurrent.futures import Future
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.geometry.detections import Detections, Floats
from shared.geometry.tiles import Tiling, pixels_needed
from shared.inference.engine import EngineError, Outputs, Pixels
from shared.inference.graph import Graph
from shared.inference.looks import looks_at
from shared.inference.network import Network
from shared.inference.outputs import Question
from shared.media.fit import GRAY
from shared.prediction.model.model import YoloModel
from shared.prediction.model.thread import ModelThreads
from shared.prediction.model.tiles import find_in_tiles
from shared.prediction.ports import DeadlineExceeded

TILING = Tiling(128, 32)
GRAPH = Graph("detect", ("Tree", "Rock"), 32, 64, False, (0, 0), (), "8.4", TILING)
OBJECTS: tuple[tuple[int, int, int, int, int], ...] = (
    (10, 12, 40, 44, 0),
    (100, 100, 124, 130, 1),  # across the corners of four tiles
    (130, 20, 150, 40, 0),
    (20, 150, 260, 180, 1),  # longer than two tiles
    (280, 180, 300, 200, 0),  # in the last corner
)
"""x1, y1, x2, y2, class."""


def painted() -> Pixels:
    """300 × 200 pixels, gray as the border around pictures, with an object of each class in its own colour."""
    picture = np.full((200, 300, 3), GRAY, dtype=np.uint8)
    for x1, y1, x2, y2, class_ in OBJECTS:
        picture[y1:y2, x1:x2] = (GRAY, GRAY, 255) if class_ else (GRAY, 255, GRAY)
    return picture


class Painter:
    """Finds every painted object in what it is shown, to the pixel; keeps the sizes of its batches."""

    def __init__(self, batch: int = 3, *, fits: int = 100) -> None:
        self.batch = batch
        self.fits = fits
        self.batches: list[int] = []

    def run(self, batch: Pixels) -> Outputs:
        if len(batch) > self.fits:
            raise EngineError("no memory")
        self.batches.append(len(batch))
        found = [self._objects(image) for image in batch]
        output = np.zeros((len(batch), 6, max(map(len, found)) + 1), dtype=np.float32)
        for rows, of_image in zip(found, output, strict=True):
            of_image[:, : len(rows)] = np.array(rows, dtype=np.float32).reshape(-1, 6).T
        return [output]

    def warm_up(self, image_size: int) -> None:
        pass

    def _objects(self, image: Pixels) -> list[tuple[float, ...]]:
        rows: list[tuple[float, ...]] = []
        for channel, class_ in ((1, 0), (2, 1)):
            mask = (image[..., channel] > 185).astype(np.uint8)
            for x, y, across, down, area in cv2.connectedComponentsWithStats(mask)[2][1:].tolist():
                if area > 2:
                    rows.append((x + across / 2, y + down / 2, across, down, 0.9 * (class_ == 0), 0.8 * (class_ == 1)))
        return rows


def same(found: Detections, *, within: float) -> None:
    assert len(found) == len(OBJECTS)
    rows: Floats = np.column_stack([found.xyxy, found.classes])
    order = np.lexsort(np.round(rows[:, :2] / 8).T)
    theirs: NDArray[np.int64] = np.array(OBJECTS)
    np.testing.assert_allclose(rows[order], theirs[np.lexsort(np.round(theirs[:, :2] / 8).T)], atol=within)


def test_every_object_is_found_once_where_it_is() -> None:
    engine = Painter()
    same(Network(engine, GRAPH).find(painted(), 0.1), within=2.0)
    assert engine.batches == [3, 3, 1]  # six tiles and the whole picture


def test_a_picture_of_fewer_pixels_is_cut_at_the_same_places() -> None:
    small = cv2.resize(painted(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    same(Network(Painter(), GRAPH).find(small, 0.1, whole=(200, 300)), within=2.5)


def test_a_picture_that_fits_into_a_tile_is_seen_as_before() -> None:
    engine, picture = Painter(), painted()[:120, :128]
    found = Network(engine, GRAPH).find(picture, 0.1)
    before = Network(Painter(), replace(GRAPH, tiling=None)).find(picture, 0.1)
    assert engine.batches == [1]
    np.testing.assert_array_equal(found.xyxy, before.xyxy)


def test_fewer_tiles_at_once_where_memory_is_short() -> None:
    engine = Painter(batch=8, fits=3)
    same(Network(engine, GRAPH).find(painted(), 0.1), within=2.0)
    assert max(engine.batches) <= 3
    with pytest.raises(EngineError):
        Network(Painter(fits=0), GRAPH).find(painted(), 0.1)


def test_the_most_objects_are_those_of_the_picture(caplog: pytest.LogCaptureFixture) -> None:
    found = Network(Painter(), GRAPH, max_objects=2).find(painted(), 0.1)
    assert found.scores.tolist() == pytest.approx([0.9, 0.9])
    assert [record.getMessage() for record in caplog.records] == [
        "an image has 2 objects or more: the least confident are left out (LABELLOOP_MAX_OBJECTS)"
    ]


def test_a_tile_that_is_answered_by_no_number_hides_no_other() -> None:
    class Broken(Painter):
        def run(self, batch: Pixels) -> Outputs:
            (output,) = super().run(batch)
            output[0] = np.nan
            return [output]

    assert len(Network(Broken(batch=2), GRAPH).find(painted(), 0.1)) > 0


def test_classes_of_whole_pictures_are_never_cut() -> None:
    assert Network(Painter(), replace(GRAPH, yolo_task="classify"), tiling=TILING).tiling is None


def test_tiles_of_base_weights_are_set_by_a_person() -> None:
    network = Network(Painter(), replace(GRAPH, tiling=None), tiling=TILING)
    same(network.find(painted(), 0.1), within=2.0)


@pytest.mark.parametrize(
    ("longest", "tiling", "needed"),
    [
        (12_000, None, 640),
        (12_000, Tiling(1280, 128), 6000),
        (12_000, Tiling(640, 64), 12_000),
        (12_001, Tiling(1280, 128), 6001),
        (12_000, Tiling(320, 64), 24_000),  # more than there are: all
        (1280, Tiling(1280, 128), 640),
    ],
)
def test_no_more_pixels_are_decoded_than_tiles_show(longest: int, tiling: Tiling | None, needed: int) -> None:
    assert pixels_needed(longest, 640, tiling) == needed


def model(engine: Painter) -> YoloModel:
    threads = ModelThreads(2, lambda error: isinstance(error, EngineError))
    return YoloModel(Network(engine, GRAPH), threads, iou=0.7)


def test_predict_finds_the_same_as_who_measures() -> None:
    measured = Network(Painter(), GRAPH).find(painted(), 0.1)
    answered = model(Painter()).submit(painted(), 0.1, tiling=TILING).result(0)
    np.testing.assert_array_equal(answered.xyxy, measured.xyxy)
    np.testing.assert_array_equal(answered.scores, measured.scores)


def test_without_a_tiling_nothing_is_cut_though_the_graph_says_so() -> None:
    engine = Painter()
    model(engine).submit(painted(), 0.1).result(10)
    assert engine.batches == [1]


def test_few_tiles_wait_at_a_time_and_none_is_asked_after_the_deadline() -> None:
    network, looks = Network(Painter(), GRAPH), looks_at((200, 300), (200, 300), TILING)
    asked: list[Future[Detections]] = []

    def ask(question: Question) -> "Future[Detections]":
        assert question.image.shape == (64, 64, 3)
        asked.append(Future())
        return asked[-1]

    with pytest.raises(DeadlineExceeded, match="after 0 of 7 views of a large picture"):
        find_in_tiles(network, ask, Question(painted(), (200, 300), 0.1), looks, ahead=3, deadline=time.monotonic())
    assert len(asked) == 3
    assert all(future.cancelled() for future in asked)


def test_a_tile_that_fails_fails_the_picture() -> None:
    class Failing(Painter):
        def run(self, batch: Pixels) -> Outputs:
            raise ValueError("no")

    future = model(Failing()).submit(painted(), 0.1, tiling=TILING)
    assert "the model failed: ValueError: no" in str(future.exception(0))
