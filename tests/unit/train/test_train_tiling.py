"""When a control learns from tiles, of which size, and what of a picture is in each."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.train.data.cutting import SHOWN, cuts, objects_in
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.tiling import Sizes, decide, sizes_of
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling, windows
from shared.labelstudio.config import parse_label_config
from tests.fakes.train_parts import CONFIG, rectangle

[CONTROL] = parse_label_config(CONFIG)


def sizes(side: float, width: int, height: int, *, longest: float = 0.0) -> Sizes:
    """Objects that are all alike, but for one in ten that is `longest` pixels long."""
    sides = np.full(20, side)
    longer = np.where(np.arange(20) < 2, longest or side, side)
    return Sizes(sides, longer, np.tile([width, height], (20, 1)).astype(np.float64))


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        pytest.param("off", sizes(5, 4000, 3000), None, id="off is off"),
        pytest.param(800, sizes(5, 4000, 3000), Tiling(800, 80), id="a number is taken"),
        pytest.param(800, sizes(300, 400, 300), Tiling(800, 300), id="a number is taken, however large objects are"),
        pytest.param(800, sizes(900, 4000, 3000), Tiling(800, 400), id="tiles share a half at most"),
        pytest.param(33, sizes(900, 4000, 3000), Tiling(33, 16), id="a half of an odd number"),
        pytest.param("auto", sizes(100, 4000, 3000), None, id="16 pixels at the model's input are enough"),
        pytest.param("auto", sizes(99, 4000, 3000), Tiling(1984, 198), id="fewer are not: twice as large then"),
        pytest.param("auto", sizes(40, 4000, 3000), Tiling(800, 80), id="the median object fills 32 pixels"),
        pytest.param("auto", sizes(40, 4000, 3000, longest=250), Tiling(800, 250), id="objects fit into the overlap"),
        pytest.param("auto", sizes(8, 4000, 3000), Tiling(320, 32), id="nothing is enlarged more than twice"),
        pytest.param("auto", sizes(8, 12_000, 9_000), Tiling(608, 60), id="a huge picture is at most 400 tiles"),
        pytest.param("auto", sizes(5, 320, 240), None, id="a small picture is enlarged as a whole"),
        pytest.param("auto", Sizes(np.zeros(0), np.zeros(0), np.zeros((0, 2))), None, id="nothing is known"),
        pytest.param(640, Sizes(np.zeros(0), np.zeros(0), np.zeros((0, 2))), Tiling(640, 128), id="only the number is"),
    ],
)  # fmt: skip
def test_what_is_decided(wanted: str | int, found: Sizes, expected: Tiling | None) -> None:
    assert decide(wanted, found, 640) == expected


@given(st.lists(st.floats(90, 118), min_size=1, max_size=20))
def test_near_the_limit_a_project_changes_once(medians: list[float]) -> None:
    cut, changes = False, 0
    for side in medians:  # 14.4 to 18.9 pixels at the model's input
        now = decide("auto", sizes(side, 4000, 3000), 640, cut_before=cut) is not None
        changes, cut = changes + (now != cut), now
    assert changes == int(min(medians) < 100)


def test_what_has_grown_well_above_the_limit_is_whole_again() -> None:
    assert decide("auto", sizes(124, 4000, 3000), 640, cut_before=True) == Tiling(2496, 249)
    assert decide("auto", sizes(125, 4000, 3000), 640, cut_before=True) is None
    assert decide("off", sizes(5, 4000, 3000), 640, cut_before=True) is None


def test_models_that_see_little_have_small_tiles() -> None:
    assert decide("auto", sizes(10, 1000, 500), 32) == Tiling(64, 10)


def task(number: int, *regions: dict[str, Any], split: str = "train", size: Any = (2000, 1000)) -> SnapshotTask:
    sized = [region | {"original_width": size[0], "original_height": size[1]} for region in regions]
    return SnapshotTask(id=number, annotation=number, updated_at=None, split=split, data={}, regions=sized)  # type: ignore[arg-type]


def test_sizes_come_from_the_side_that_is_learnt_from() -> None:
    box = rectangle(x=1, y=1, width=2, height=1)  # 40 × 10 pixels of 2000 × 1000
    odd = [("2000", 1000), (2000, 0), (True, True), (None, None), (10**9, 10)]
    tasks = [task(1, box, rectangle("Car")), task(2, box, split="val"), task(3)]
    found = sizes_of([*tasks, *(task(4, box, size=size) for size in odd)], CONTROL, 8)
    assert (found.sides.tolist(), found.longer.tolist(), found.pictures.tolist()) == ([20.0], [40.0], [[2000, 1000]])
    assert found.at(640) == pytest.approx(6.4)


def test_a_task_that_cannot_be_read_tells_nothing() -> None:
    box = rectangle(x=1, y=1, width=2, height=1)
    broken = task(2, box)
    broken.regions[0]["value"] = 5
    assert len(sizes_of([task(1, box), broken], CONTROL, 2).sides) == 1


def test_of_many_tasks_some_are_read() -> None:
    box = rectangle(x=1, y=1, width=2, height=1)
    assert len(sizes_of((task(number, box) for number in range(2000)), CONTROL, 2000).sides) == 500


def boxes(*xyxy: tuple[float, float, float, float], **more: Any) -> Detections:
    return Detections.annotated(1000, 500, xyxy, [0] * len(xyxy), ("Tree",), **more)


def test_an_object_is_one_of_a_tile_that_shows_enough_of_it() -> None:
    found, pieces = objects_in(boxes((90, 0, 115, 10), (85, 0, 110, 10), (300, 300, 310, 310)), (100, 0, 200, 100))
    assert found.xyxy.tolist() == [[0, 0, 15, 10], [0, 0, 10, 10]], "60 and 40 % are"
    assert (found.width, found.height, pieces) == (100, 100, 0.0)
    found, pieces = objects_in(boxes((84, 0, 110, 10)), (100, 0, 200, 100))
    assert (len(found), pieces) == (0, 0.01)


def test_outlines_holes_and_rotated_boxes_count_by_their_own_area() -> None:
    outer = np.array([(80.0, 0), (120, 0), (120, 40), (80, 40)])
    hole = np.array([(102.0, 2), (118, 2), (118, 38), (102, 38)])  # most of its right half
    shape = boxes((80, 0, 120, 40), outlines=((outer,),))
    assert len(objects_in(shape, (100, 0, 200, 100))[0]) == 1
    assert len(objects_in(replace(shape, outlines=((outer, hole),)), (100, 0, 200, 100))[0]) == 0
    assert len(objects_in(replace(shape, outlines=((outer, hole),)), (0, 0, 100, 100))[0]) == 1
    # A strip that lies across the border of a tile: of the box around it 44 % is inside, of itself 32 %.
    strip = boxes((0, 0, 100, 100), rotated=np.array([(50.0, 50.0, 140.0, 2.0, -np.pi / 4)]))
    assert len(objects_in(strip, (0, 0, 66, 66))[0]) == 0
    moved = objects_in(strip, (10, 20, 110, 120))[0].rotated
    assert moved is not None
    assert moved[0].tolist() == pytest.approx([40, 30, 140, 2, -np.pi / 4])


def test_points_outside_are_missing() -> None:
    points = np.array([[(95.0, 5.0, 1.0), (110.0, 5.0, 1.0), (0.0, 0.0, 0.0)]])
    found, _ = objects_in(boxes((90, 0, 120, 10), keypoints=points, point_names=("a", "b", "c")), (100, 0, 200, 100))
    assert found.keypoints is not None
    assert found.keypoints.tolist() == [[[0, 0, 0], [10, 5, 1], [0, 0, 0]]]


def test_empty_tiles_come_in_proportion_and_those_full_of_pieces_not_at_all() -> None:
    places = windows(1000, 500, Tiling(100, 10))
    assert len(places) > 60
    assert [len(cut.found) for cut in cuts(boxes(), places)] == [0, 0], "two of a picture that shows nothing"
    spread = [(x, y, x + 9, y + 9) for x in range(0, 1000, 90) for y in range(0, 190, 90)]
    some = cuts(boxes(*map(tuple, spread)), places)  # type: ignore[arg-type]
    filled = sum(len(cut.found) > 0 for cut in some)
    assert len(some) - filled == round(filled / 2)
    assert [cut.window for cut in some] == sorted((cut.window for cut in some), key=lambda one: (one[1], one[0]))
    # No tile shows 40 % of what covers the picture: it is learnt from the whole picture alone.
    assert cuts(boxes((0, 0, 1000, 500)), places) == []


@given(st.integers(100, 1500), st.integers(100, 1500), st.integers(32, 400), st.data())
def test_what_fits_into_the_overlap_is_whole_in_a_tile(width: int, height: int, side: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(1, side // 2))
    size = data.draw(st.integers(1, min(overlap, width, height)))
    x, y = data.draw(st.integers(0, width - size)), data.draw(st.integers(0, height - size))
    found = Detections.annotated(width, height, [(x, y, x + size, y + size)], [0], ("Tree",))
    shown = [cut for cut in cuts(found, windows(width, height, Tiling(side, overlap))) if len(cut.found)]
    whole = [(cut.found.xyxy[:, 2:] - cut.found.xyxy[:, :2] == size).all() for cut in shown]
    assert any(whole)
    for cut in shown:
        seen = (cut.found.xyxy[:, 2:] - cut.found.xyxy[:, :2]).prod()
        assert seen >= SHOWN * size * size - 1e-6
        assert (cut.found.xyxy >= 0).all()
        assert (cut.found.xyxy[:, 2:] <= [cut.found.width, cut.found.height]).all()
