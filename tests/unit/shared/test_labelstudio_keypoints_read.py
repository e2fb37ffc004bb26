"""Keypoints as annotators arrange them: which object each belongs to, and what cannot be used."""

from typing import Any

import pytest

from shared.labelstudio.regions.keypoints import read_keypoints
from tests.samples.keypoints import (
    ALONE,
    CONFIG,
    PAIR,
    box,
    control_of,
    point,
    read,
)


class TestReading:
    def test_points_in_boxes(self) -> None:
        boxes, points = read(
            point("nose", 20, 30, parent="b"),
            box(10, 20, 30, 40, "a"),
            point("nose", 15, 25, parent="a"),
            point("right", 30, 50, parent="a"),
            box(50, 20, 30, 40, "b"),
            box(80, 80, 10, 10, "without points"),
        )
        assert boxes == [[20, 20, 80, 60], [100, 20, 160, 60], pytest.approx([160, 80, 180, 90])]
        assert points == [{"nose": (30, 25), "right": (60, 50)}, {"nose": (40, 30)}, {}]

    def test_points_with_labels_beside(self) -> None:
        shape = point("nose", 20, 30, "p", "b") | {"type": "keypoint"}
        named = shape | {"from_name": "parts", "type": "labels", "value": shape["value"] | {"labels": ["nose"]}}
        _, points = read(shape, named, box(10, 20, 30, 40, "b"), config=PAIR)
        assert points == [{"nose": (40, 30)}]

    def test_points_that_nobody_arranged_are_one_thing_in_their_envelope_and_a_margin(self) -> None:
        boxes, points = read(point("nose", 20, 30), point("right", 40, 50), config=ALONE)
        assert boxes == [[36, 26, 84, 54]]  # 40 × 20 pixels and a tenth of 40
        assert points == [{"nose": (40, 30), "right": (80, 50)}]
        assert read(point("nose", 0, 100), config=ALONE)[0] == [[0, 98, 2, 100]]  # a hundredth of the image, inside it

    def test_a_repeated_label_begins_the_next_thing(self) -> None:
        free = [point("nose", 1, 1), point("left", 2, 2), point("left", 3, 3), point("nose", 4, 4)]
        _, points = read(*free, config=ALONE)
        assert points == [{"nose": (2, 1), "left": (4, 2)}, {"left": (6, 3), "nose": (8, 4)}]

    def test_points_below_a_point_or_another_region_are_one_thing(self) -> None:
        scene, other = (box(0, 0, 50, 50, name) | {"from_name": "something else"} for name in ("scene", "other"))
        _, points = read(
            scene,
            other | {"parentID": "scene"},
            point("nose", 9, 9, parent="scene"),
            point("nose", 1, 1, "n"),
            point("right", 5, 5, parent="other"),
            point("left", 4, 4, "l", parent="other"),
            point("right", 2, 2, "r", parent="n"),
            point("left", 3, 3, parent="r"),
            config=ALONE,
        )
        assert points == [
            {"nose": (18, 9)},
            {"nose": (2, 1), "right": (4, 2), "left": (6, 3)},
            {"right": (10, 5), "left": (8, 4)},
        ]

    def test_parents_in_a_circle_and_parents_that_are_gone(self) -> None:
        _, points = read(point("nose", 1, 1, "a", "c"), point("left", 2, 2, "b", "a"), point("right", 3, 3, "c", "b"))
        assert points == [{"nose": (2, 1), "left": (4, 2), "right": (6, 3)}]
        _, points = read(point("nose", 1, 1, "a", "a"), point("left", 2, 2, "b", "gone"), config=ALONE)
        assert points == [{"nose": (2, 1), "left": (4, 2)}]

    def test_of_two_points_with_the_same_label_in_a_box_the_last_one_counts(self) -> None:
        _, points = read(box(0, 0, 50, 50, "b"), point("nose", 1, 1, parent="b"), point("nose", 9, 9, parent="b"))
        assert points == [{"nose": (18, 9)}]

    def test_what_is_outside_the_image_is_missing(self) -> None:
        boxes, points = read(
            box(-10, 50, 40, 80, "b"),
            box(100, 0, 10, 10, "outside"),
            point("nose", -1, 60, parent="b"),
            point("left", 100.0000001, 0, parent="b"),
            point("right", 1, 1, parent="outside"),
        )
        assert boxes == [[0, 50, 60, 100]]
        assert points == [{"left": (200, 0)}]

    def test_points_in_a_box_without_a_known_label_are_left_out_with_it(self) -> None:
        for unknown in ([], ["cat"]):
            thing = box(0, 0, 50, 50, "b")
            thing["value"]["rectanglelabels"] = unknown
            assert read(thing, point("nose", 1, 1, parent="b"), point("left", 2, 2, parent="b")) == ([], [])

    def test_several_classes(self) -> None:
        config = CONFIG.replace('<Label value="person"/>', '<Label value="person"/><Label value="dog"/>')
        regions = [
            box(0, 0, 50, 50, "d", "dog"),
            box(0, 0, 50, 50, "c", "cat"),
            point("nose", 1, 1, parent="d"),
            point("nose", 2, 2, parent="c"),
            point("nose", 3, 3),
        ]
        found = read_keypoints(regions, control_of(config), 200, 100).found
        assert (found.names, found.classes.tolist()) == (("person", "dog"), [1])

    @pytest.mark.parametrize(
        "other",
        [
            point("nose", 1, 1) | {"from_name": "other"},
            point("tail", 1, 1),
            point("nose", float("nan"), 1),
            point("nose", 10**400, 1),
            point("nose", 1, 1) | {"value": None},
            point("nose", 1, 1) | {"value": {"keypointlabels": ["nose"]}},
            point("nose", 1, 1, keypointlabels="nose"),
            point("nose", 1, 1, keypointlabels=[["nose"], None, 3]),
            point("nose", "left", 1),  # type: ignore[arg-type]
            point("nose", None, []),  # type: ignore[arg-type]
            box(0, 0, 0, 10, "empty"),
            box(float("inf"), 0, 10, 10, "far"),
            {"type": "relation", "from_id": "a", "to_id": "b"},
        ],
    )
    def test_left_out(self, other: Any) -> None:
        _, points = read(other, box(0, 0, 50, 50, "b"), point("left", 1, 1, parent="b"))
        assert points == [{"left": (2, 1)}]

    @pytest.mark.parametrize("name", [None, 1, [], {}, ""])
    def test_regions_without_an_id(self, name: Any) -> None:
        nameless = [point("nose", 1, 1) | {"id": name, "parentID": [name]}, point("left", 2, 2) | {"id": name}]
        _, points = read(*nameless, config=ALONE)
        assert points == [{"nose": (2, 1), "left": (4, 2)}]
        _, points = read(*nameless, box(0, 0, 50, 50, "b") | {"id": name}, box(60, 0, 9, 9, "c") | {"id": name})
        assert points == [{"nose": (2, 1), "left": (4, 2)}, {}]

    def test_nothing(self) -> None:
        found = read_keypoints([], control_of(), 10, 10).found
        assert found.keypoints is not None
        assert found.keypoints.shape == (0, 3, 3)

    def test_a_chain_of_thousands_of_points(self) -> None:
        chain = [point("nose", 1, 1, f"{number}", f"{number - 1}") for number in range(5000)]
        assert len(read(*reversed(chain))[1]) == 5000
