"""How many pixels of an image its models get, in one piece or in tiles."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.media.fit import Sized, in_full
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.ports import DeadlineExceeded
from shared.prediction.room import Room
from tests.fakes.predict_parts import FAR, FakeModel, jpeg
from tests.fakes.predictor_parts import BOXES, KINDS, WHOLE, FakeImages, call, classifier, failures, predictor, view


@pytest.mark.parametrize(
    ("controls", "sizes", "seen"),
    [
        pytest.param([BOXES], {"label": 41}, (60, 80), id="an eighth would be too small"),
        pytest.param([BOXES, WHOLE], {"label": 90, "kind": 40}, (120, 160), id="as large as the largest model needs"),
        pytest.param([BOXES, WHOLE], {"label": 400, "kind": 40}, (240, 320), id="all, for one"),
        pytest.param([BOXES, KINDS], {"label": 40, "kind": 40}, (240, 320), id="all, to cut regions out of it"),
    ],
)
def test_an_image_has_the_pixels_that_its_models_need(
    controls: list[str], sizes: dict[str, int], seen: tuple[int, int]
) -> None:
    label, kind = FakeModel(image_size=sizes["label"]), classifier(image_size=sizes.get("kind", 1000))
    ours, _ = predictor(FakeImages({"a": jpeg(320, 240)}), label=label, kind=kind)
    (answer,) = ours.predict(call("a", config=view(*controls)), FAR)
    assert isinstance(answer, dict)
    assert label.seen == [(*seen, 3)]
    sizes_said = {
        (each["original_width"], each["original_height"]) for each in answer["result"] if each["type"] != "choices"
    }
    assert sizes_said == {(320, 240)}


TILED = Tiling(100, 25)


@pytest.mark.parametrize(
    ("controls", "tiling", "size", "seen"),
    [
        pytest.param([BOXES], TILED, 40, (120, 160), id="so many that no tile is enlarged"),
        pytest.param([BOXES], TILED, 100, (240, 320), id="all"),
        pytest.param([BOXES, WHOLE], TILED, 40, (120, 160), id="also for who sees it whole"),
        pytest.param([BOXES], Tiling(320, 80), 40, (30, 40), id="it fits into a tile"),
        pytest.param([BOXES, KINDS], TILED, 40, (240, 320), id="regions are never cut"),
    ],
)
def test_a_version_that_learnt_from_tiles_is_shown_tiles(
    controls: list[str], tiling: Tiling, size: int, seen: tuple[int, int]
) -> None:
    label, kind = FakeModel(image_size=size, tiling=tiling), classifier(image_size=40)
    ours, _ = predictor(FakeImages({"a": jpeg(320, 240)}), label=label, kind=kind)
    assert isinstance(ours.predict(call("a", config=view(*controls)), FAR)[0], dict)
    assert (label.seen, label.cut) == ([(*seen, 3)], [(tiling, FAR)])
    assert {tiling for tiling, _ in kind.cut} <= {None}


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(("written", "side"), [("", None), ('model_tiles="auto"', None), ('model_tiles="100"', 100)])
def test_base_weights_are_shown_tiles_where_a_person_says_how_large(
    trained: bool, written: str, side: int | None
) -> None:
    model = FakeModel(image_size=40)
    ours, _ = predictor(FakeImages({"a": jpeg(320, 240)}), trained=trained, label=model)
    config = view(BOXES.replace("<RectangleLabels ", f"<RectangleLabels {written} "))
    assert isinstance(ours.predict(call("a", config=config), FAR)[0], dict)
    assert [tiling for tiling, _ in model.cut] == [Tiling(side, 20) if side and not trained else None]


def test_few_large_pictures_are_looked_at_in_tiles_at_a_time() -> None:
    now, most, lock = 0, 0, threading.Lock()

    class Watching(FakeModel):
        def submit(self, *args: Any, **more: Any) -> "Future[Detections]":
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            found = super().submit(*args, **more)
            with lock:
                now -= 1
            return found

    large = jpeg(900, 600)  # of 1,000,000 pixels that there is room for
    ours, _ = predictor(FakeImages({"a": large}), concurrency=8, label=Watching(tiling=TILED, batch=8))
    assert all(ours.predict(call(*["a"] * 8), FAR))
    assert most == 1


def test_a_file_that_is_no_picture_needs_no_room() -> None:
    ours, metrics = predictor(FakeImages({"a": b"text"}), label=FakeModel(tiling=TILED))
    assert ours.predict(call("a"), FAR) == [[]]
    assert failures(metrics) == {"unsupported": 1}


def test_who_waits_for_room_waits_until_the_deadline() -> None:
    room = Room(100)
    with room.taken(500, FAR), pytest.raises(DeadlineExceeded, match="other large pictures"), room.taken(1, 0.0):
        pass
    with room.taken(60, FAR), room.taken(40, FAR), pytest.raises(DeadlineExceeded), room.taken(1, 0.0):
        pass


def test_of_the_largest_pictures_two_are_decoded_at_a_time_on_any_number_of_cores() -> None:
    begun, go_on, whole = threading.Semaphore(0), threading.Event(), jpeg(100, 100)

    def decode(_data: bytes, _side: object) -> Sized:
        begun.release()
        go_on.wait(60)
        return in_full(np.zeros((1, 1, 3), dtype=np.uint8))

    images = TaskImages(FakeImages({}), decode, Metrics(), fetch_concurrency=8, decode_concurrency=8, pixels=10_000)
    with ThreadPoolExecutor(3) as pool:
        two = [pool.submit(images.decode, whole, None, FAR) for _ in range(2)]
        assert all(begun.acquire(timeout=60) for _ in two)
        with pytest.raises(DeadlineExceeded, match="other large pictures"):
            images.decode(jpeg(10, 10), None, time.monotonic() + 0.1)
        third = pool.submit(images.decode, whole, None, FAR)
        go_on.set()
        assert [one.result(60).whole for one in (*two, third)] == [(1, 1)] * 3
