"""Objects of tiles are those of the picture: each once, none cut in two. The detector of these tests is perfect."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.geometry.detections import (
    Detections,
    Floats,
    clip_rotated,
    clip_xyxy,
    envelope,
    xywhr_to_corners,
)
from shared.geometry.merging import View, merged
from shared.geometry.outlines import outline_to_runs
from shared.geometry.rings import clip_outline
from shared.geometry.tiles import Tiling, windows

NAMES = ("Tree", "Rock")
SEEN = 64  # pixels of the side of what the network sees
MOST = 300
Place = tuple[int, int, int, int]
See = Callable[[Detections, Place], Detections]
"""What a perfect detector says of a part of a picture: what is cut at its edges, boxes however little is left."""
LEAST = 8  # pixels of other shapes, on both sides; what is left of less looks like anything


def boxes_in(objects: Detections, place: Place) -> Detections:
    width, height = place[2] - place[0], place[3] - place[1]
    boxes = clip_xyxy(objects.xyxy - np.tile(place[:2], 2), width, height)
    seen = replace(objects, width=width, height=height, xyxy=boxes)
    return seen.only(np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) > 0))


def points_in(objects: Detections, place: Place) -> Detections:
    """Points behind an edge are missing."""
    assert objects.keypoints is not None
    points: Floats = objects.keypoints - np.array([*place[:2], 0])
    inside = (points[..., :2] >= 0) & (points[..., :2] <= np.subtract(place[2:], place[:2]))
    there = np.all(inside, axis=-1, keepdims=True)
    return boxes_in(replace(objects, keypoints=np.where(there, points, 0.0)), place)


def rotated_in(objects: Detections, place: Place) -> Detections:
    assert objects.rotated is not None
    width, height = place[2] - place[0], place[3] - place[1]
    clipped = clip_rotated(objects.rotated - [*place[:2], 0, 0, 0], width, height)
    boxes = clip_xyxy(envelope(xywhr_to_corners(clipped)), width, height)
    seen = replace(objects, width=width, height=height, xyxy=boxes, rotated=clipped)
    return seen.only((boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= LEAST)


def outlines_in(objects: Detections, place: Place) -> Detections:
    assert objects.outlines is not None
    width, height = place[2] - place[0], place[3] - place[1]
    cut = [clip_outline(tuple(ring - place[:2] for ring in one), width, height) for one in objects.outlines]
    boxes = np.array(
        [np.concatenate([_points(one).min(0), _points(one).max(0)]) if one else np.zeros(4) for one in cut]
    )
    seen = replace(objects, width=width, height=height, xyxy=boxes.reshape(-1, 4), outlines=tuple(cut))
    sides = seen.xyxy[:, 2:] - seen.xyxy[:, :2]
    return seen.only(sides.min(axis=1, initial=np.inf) >= LEAST)


def _points(outline: tuple[Floats, ...]) -> Floats:
    return np.concatenate(outline)


@dataclass(frozen=True)
class Scene:
    """A picture with its objects, and how it is looked at."""

    width: int
    height: int
    tiling: Tiling
    objects: Detections
    least: float = np.inf  # the smallest side that is found in the whole picture; inf: nothing is

    def found(self, see: See = boxes_in, *, iou: float = 0.7, most: int = MOST) -> Detections:
        looks = [(x1, y1, x2, y2) for x1, y1, x2, y2 in windows(self.width, self.height, self.tiling).tolist()]
        views = [View(place, see(self.objects, place), self.tiling.side / SEEN) for place in looks]
        sides = (self.objects.xyxy[:, 2:] - self.objects.xyxy[:, :2]).min(axis=1, initial=np.inf)
        whole = self.objects.only(sides >= self.least)
        views.append(View((0, 0, self.width, self.height), whole, max(self.width, self.height) / SEEN))
        return merged(views, self.width, self.height, iou=iou, most=most)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Objects of any size that overlap with none of their class, on a grid of quarters of a pixel."""
    side = draw(st.integers(40, 200))
    tiling = Tiling(side, draw(st.integers(side // 10, side // 2)))
    width, height = draw(st.integers(side // 2, 600)), draw(st.integers(side // 2, 600))
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    for _ in range(draw(st.integers(0, 12))):
        across, down = (draw(st.integers(8, 4 * length)) / 4 for length in (width, height))
        x, y = (draw(st.integers(0, int(4 * (all_ - some)))) / 4 for all_, some in ((width, across), (height, down)))
        box, class_ = (x, y, x + across, y + down), draw(st.integers(0, 1))
        theirs = [other for other, its_class in zip(boxes, classes, strict=True) if class_ == its_class]
        if not any(
            min(box[2], other[2]) > max(x, other[0]) and min(box[3], other[3]) > max(y, other[1]) for other in theirs
        ):
            boxes.append(box)
            classes.append(class_)
    objects = Detections.annotated(width, height, boxes, classes, NAMES)
    scores = np.array([draw(st.integers(1, 99)) / 100 for _ in boxes])
    return Scene(width, height, tiling, replace(objects, scores=scores), draw(st.sampled_from([0.0, 30.0, np.inf])))


def in_order(found: Detections) -> Floats:
    rows: Floats = np.column_stack([found.classes, found.xyxy, found.scores])
    return np.asarray(rows[np.lexsort(rows.T[::-1])])


@settings(max_examples=60)
@given(scenes())
def test_exactly_the_objects_of_the_picture(scene: Scene) -> None:
    found = scene.found()
    np.testing.assert_allclose(in_order(found), in_order(scene.objects), atol=1e-6)
    assert (np.diff(found.scores) <= 0).all()


@settings(max_examples=20)
@given(scenes(), st.integers(1, 6))
def test_the_surest_of_the_picture_remain_where_it_has_too_many(scene: Scene, most: int) -> None:
    found = scene.found(most=most)
    assert found.scores.tolist() == sorted(scene.objects.scores.tolist(), reverse=True)[:most]


@settings(max_examples=20)
@given(scenes())
def test_points_come_with_their_box(scene: Scene) -> None:
    corners = scene.objects.xyxy[:, [0, 1, 2, 3, 0, 3]].reshape(-1, 3, 2)
    sure = np.linspace(0.2, 1.0, 3 * len(scene.objects)).reshape(-1, 3, 1)
    objects = replace(scene.objects, keypoints=np.concatenate([corners, sure], axis=2), point_names=("a", "b", "c"))
    found = replace(scene, objects=objects).found(points_in)
    ours, theirs = (each.only(np.lexsort([*each.xyxy.T, each.classes])) for each in (found, objects))
    assert ours.keypoints is not None
    assert theirs.keypoints is not None
    np.testing.assert_allclose(ours.keypoints, theirs.keypoints, atol=1e-6)


@st.composite
def slanted(draw: st.DrawFn) -> Scene:
    """Slim boxes in parallel, as ships in a harbour: the upright boxes around them overlap."""
    angle, length = np.deg2rad(draw(st.integers(-40, 126))), draw(st.floats(60, 250))
    breadth = length / draw(st.floats(2, 5))
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    first = np.array([draw(st.floats(150, 450)), draw(st.floats(150, 450))])
    steps = [(draw(st.integers(-3, 3)), draw(st.integers(-1, 1))) for _ in range(draw(st.integers(1, 6)))]
    centres = [first + 1.3 * breadth * a * across + 1.2 * length * b * along for a, b in dict.fromkeys(steps)]
    boxes = np.array([(*centre, length, breadth, angle) for centre in centres])
    inside = ((xywhr_to_corners(boxes) > 0) & (xywhr_to_corners(boxes) < 600)).all(axis=(1, 2))
    boxes = boxes[inside]
    upright = envelope(xywhr_to_corners(boxes)) if len(boxes) else np.zeros((0, 4))
    objects = Detections.annotated(600, 600, upright, [0] * len(boxes), NAMES, rotated=boxes)
    return Scene(600, 600, Tiling(150, 50), objects, draw(st.sampled_from([0.0, np.inf])))


@settings(max_examples=30)
@given(slanted())
def test_rotated_boxes_side_by_side(scene: Scene) -> None:
    found = scene.found(rotated_in)
    assert found.rotated is not None
    assert scene.objects.rotated is not None
    assert len(found) == len(scene.objects)
    ours, theirs = (each[np.lexsort(np.round(each[:, :2], 3).T)] for each in (found.rotated, scene.objects.rotated))
    np.testing.assert_allclose(ours, theirs, atol=0.05)


@st.composite
def drawn(draw: st.DrawFn) -> Scene:
    """Ellipses in the cells of a grid: of any size against the tiles, and as near one another as they may be."""
    rings, boxes = [], []
    cell = draw(st.integers(40, 300))
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    for x, y in {(draw(st.integers(0, 600 // cell - 1)), draw(st.integers(0, 600 // cell - 1))) for _ in range(5)}:
        half = np.array([draw(st.floats(0.2, 0.5)), draw(st.floats(0.2, 0.5))]) * cell
        ring = (np.array([x, y]) + 0.5) * cell + np.stack([np.cos(turn), np.sin(turn)], axis=1) * half
        rings.append((ring,))
        boxes.append(np.concatenate([ring.min(axis=0), ring.max(axis=0)]))
    objects = Detections.annotated(600, 600, boxes, [0] * len(boxes), NAMES, outlines=tuple(rings))
    return Scene(600, 600, Tiling(128, draw(st.integers(16, 64))), objects, draw(st.sampled_from([0.0, np.inf])))


@settings(max_examples=25)
@given(drawn())
def test_outlines_have_no_seams(scene: Scene) -> None:
    found = scene.found(outlines_in)
    assert found.outlines is not None
    assert scene.objects.outlines is not None
    assert len(found) == len(scene.objects)
    ours, theirs = (np.lexsort(np.round(each.xyxy[:, :2] / 10).T) for each in (found, scene.objects))
    for one, other in zip(ours, theirs, strict=True):
        assert len(found.outlines[one]) == 1
        drawn, true = (_pixels(outline) for outline in (found.outlines[one], scene.objects.outlines[other]))
        perimeter = 2 * np.sum(found.xyxy[one, 2:] - found.xyxy[one, :2])
        assert (drawn ^ true).sum() <= max(0.75 * scene.tiling.side / SEEN, 1.0) * perimeter


def _pixels(outline: tuple[Floats, ...]) -> NDArray[np.bool_]:
    pixels = np.zeros(600 * 600, dtype=np.bool_)
    for begin, end in zip(*outline_to_runs(outline, 600, 600), strict=True):
        pixels[begin:end] = True
    return pixels


Row = tuple[float, float, float, float, float]
"""x1, y1, x2, y2 in pixels of the picture, score."""


def merged_of(*, left: tuple[Row, ...] = (), right: tuple[Row, ...] = (), whole: tuple[Row, ...] = ()) -> list[Row]:
    """What becomes of it in a picture of 180 × 100 pixels, seen in two tiles that share 20."""

    def view(place: Place, rows: tuple[Row, ...], pixel: float) -> View:
        table = np.array(rows, dtype=np.float64).reshape(-1, 5)
        boxes, classes = table[:, :4] - np.tile(place[:2], 2), np.zeros(len(table), dtype=np.int64)
        return View(place, Detections(place[2] - place[0], place[3], boxes, table[:, 4], classes, NAMES), pixel)

    views = [view((0, 0, 100, 100), left, 1.0), view((80, 0, 180, 100), right, 1.0), view((0, 0, 180, 100), whole, 2.0)]
    found = merged(views, 180, 100, iou=0.7, most=MOST)
    return [tuple(row) for row in np.column_stack([found.xyxy, found.scores]).tolist()]


def test_an_object_that_two_tiles_see_a_little_differently_is_one() -> None:
    assert merged_of(left=((84, 40, 94, 50, 0.8),), right=((86, 41, 95, 51, 0.9),)) == [(86, 41, 95, 51, 0.9)]


def test_half_an_object_yields_to_the_whole_one_even_if_it_is_surer() -> None:
    half, whole = (70.0, 20.0, 99.0, 60.0, 0.95), (71.0, 21.0, 130.0, 61.0, 0.6)
    assert merged_of(left=(half,), whole=(whole,)) == [(71, 21, 130, 61, 0.95)]


def test_halves_that_reach_as_far_as_the_whole_are_seen_more_exactly() -> None:
    left, right, whole = (40, 20, 100, 60, 0.8), (80, 21, 150, 61, 0.7), (37, 18, 154, 64, 0.4)
    assert merged_of(left=(left,), right=(right,), whole=(whole,)) == [(40, 20, 150, 61, 0.8)]


def test_a_half_whose_other_half_nobody_found_stays() -> None:
    assert merged_of(left=((60, 20, 100, 60, 0.8),)) == [(60, 20, 100, 60, 0.8)]


def test_objects_that_a_tile_tells_apart_are_not_joined_by_another() -> None:
    """Two that overlap by more than a half, which both tiles see, and one that finds only one of them."""
    one, other = (82.0, 40.0, 92.0, 50.0, 0.9), (86.0, 40.0, 96.0, 50.0, 0.8)
    assert merged_of(left=(one, other), right=(one, other)) == [one, other]
    assert merged_of(left=(one, other), right=(other,)) == [one, other]


def test_a_box_around_many_does_not_take_their_place() -> None:
    trees = tuple((10.0 + 20 * n, 10.0, 24.0 + 20 * n, 24.0, 0.5) for n in range(3))
    wood = (8.0, 8.0, 76.0, 40.0, 0.9)
    assert sorted(merged_of(left=trees, whole=(wood,))) == sorted([*trees, wood])


def test_a_second_piece_of_an_object_is_left_out() -> None:
    """What a tile sees of one object may look like two."""
    whole, pieces = (85.0, 10.0, 120.0, 90.0, 0.9), ((85.0, 12.0, 100.0, 50.0, 0.5), (86.0, 52.0, 100.0, 88.0, 0.4))
    assert merged_of(left=pieces, right=(whole,)) == [whole]


def test_nothing_is_found() -> None:
    assert merged_of() == []
