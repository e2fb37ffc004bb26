"""Keypoints and the boxes around them, as they are written; Label Studio's own SDK accepts them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.labelstudio.regions.keypoints import write_keypoints
from tests.samples.keypoints import (
    ALONE,
    CONFIG,
    CONFIGS,
    INDEXED,
    PAIR,
    POINTS,
    control_of,
    places,
    pose,
    write,
)


class TestWriting:
    def test_a_box_and_its_points(self) -> None:
        thing, nose, right = write(pose([[40, 30, 0.9], [0, 0, 0], [100, 50, 0.8]]))
        assert thing == {
            "id": "kp-0",
            "from_name": "kp_bbox",
            "to_name": "image",
            "type": "rectanglelabels",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.75,
            "value": {"x": 10, "y": 20, "width": 80, "height": 60, "rotation": 0, "rectanglelabels": ["person"]},
        }
        assert nose == {
            "id": "kp-0.0",
            "from_name": "kp",
            "to_name": "image",
            "type": "keypointlabels",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.9,
            "parentID": "kp-0",
            "value": {"x": 20, "y": 30, "width": 0.5, "keypointlabels": ["nose"]},
        }
        assert (right["value"]["keypointlabels"], right["parentID"]) == (["right"], "kp-0")

    def test_without_boxes_the_first_point_is_the_parent_of_the_others(self) -> None:
        found = pose([[0, 0, 0], [40, 30, 0.9], [100, 50, 0.8]])
        for config in (ALONE, CONFIG.replace('name="kp"', 'name="kp" model_add_bboxes="false"')):
            left, right = write(found, config)
            assert "parentID" not in left
            assert right["parentID"] == left["id"]

    def test_points_with_labels_beside(self) -> None:
        _, shape, named = write(pose([[40, 30, 0.9], [0, 0, 0], [0, 0, 0]]), PAIR)
        assert (shape["from_name"], shape["type"], shape["value"]) == (
            "kp",
            "keypoint",
            {"x": 20, "y": 30, "width": 0.5},
        )
        assert (named["from_name"], named["type"], named["value"]["labels"]) == ("parts", "labels", ["nose"])
        assert shape["id"] == named["id"]
        assert shape["parentID"] == named["parentID"] == "kp-0"

    def test_attributes(self) -> None:
        config = CONFIG.replace('name="kp"', 'name="kp" model_point_size="4" model_point_threshold="0.5"')
        thing, nose = write(pose([[40, 30, 0.5], [50, 30, 0.49], [300, 50, 0.9]]), config)
        assert thing["type"] == "rectanglelabels"
        assert nose["value"] == {"x": 20, "y": 30, "width": 2, "keypointlabels": ["nose"]}

    @pytest.mark.parametrize(
        ("config", "more", "label"),
        [
            pytest.param(CONFIG, {}, "left", id="as many points as labels: their order"),
            pytest.param(CONFIG, {"point_names": ("RIGHT", "nose", "tail")}, "nose", id="the model names its points"),
            pytest.param(
                INDEXED.replace('model_index="0"', 'model_index="9"').replace('index="2"', 'index="0"'),
                {"point_names": ("0", "1", "2")},
                "left",
                id="model_index",
            ),
            pytest.param(INDEXED, {"point_names": ("nose", "1", "2")}, "left", id="the model names other points"),
            pytest.param(INDEXED, {"point_names": ("left", "1", "2")}, None, id="no label twice"),
            pytest.param(INDEXED.replace('left" predicted_values="person"', 'left"'), {}, "left", id="of any class"),
            pytest.param(INDEXED.replace('left" predicted_values="person"', 'left" predicted_values="dog"'), {}, None,
                         id="of another class"),
            pytest.param(CONFIG.replace('<Label value="right"/>', ""), {}, None, id="another number of points"),
            pytest.param(CONFIG, {"point_names": ("nose", "tail", "ear")}, None, id="the model names another point"),
        ],
    )  # fmt: skip
    def test_label_of_the_second_point(self, config: str, more: dict[str, Any], label: str | None) -> None:
        regions = write(pose([[0, 0, 0], [40, 30, 0.9], [0, 0, 0]], **more), config)
        assert places(regions) == ({label: (20, 30)} if label else {})

    @pytest.mark.parametrize(
        ("config", "more", "nose"),
        [
            pytest.param(CONFIG, {}, [], id="as many points as labels: who knows what they are of"),
            pytest.param(CONFIG, {"point_names": ("Nose", "1", "2")}, [["nose"]], id="the model names its points"),
            pytest.param(INDEXED.replace('predicted_values="person" ', ""), {}, [["nose"]], id="the config does"),
            pytest.param(INDEXED.replace('values="person"', 'values="dog"'), {}, [], id="the config does, of a dog"),
        ],
    )
    @pytest.mark.parametrize("boxes", [True, False])
    def test_a_class_without_label_is_an_unlabelled_box(
        self, config: str, more: dict[str, Any], nose: list[list[str]], boxes: bool
    ) -> None:
        found = pose([[40, 30, 0.9], [0, 0, 0], [0, 0, 0]], **more)
        config = config if boxes else config.replace("RectangleLabels", "PolygonLabels")
        regions = [region["value"] for region in write_keypoints(found, [None], control_of(config))]
        assert [value["rectanglelabels"] for value in regions if "rectanglelabels" in value] == [[]] * boxes
        assert [value["keypointlabels"] for value in regions if "keypointlabels" in value] == nose

    @pytest.mark.parametrize(
        ("labels", "names", "trained", "means"),
        [
            pytest.param("aAb", "aAb", True, "aAb", id="as written"),
            pytest.param("aAb", "aAb", False, "aAb", id="as written, by base weights"),
            pytest.param("bAa", "aAb", True, "aAb", id="in another order"),
            pytest.param("abc", "ABc", True, "--c", id="in another case"),
            pytest.param("abc", "ABc", False, "abc", id="in another case, by base weights"),
            pytest.param("abc", "aAb", False, "a-b", id="the closest of two"),
            pytest.param("aAß", ("x", "ss", "SS"), False, "---", id="two that fold alike"),
            pytest.param("abc", "xyz", True, "---", id="other labels by now"),
            pytest.param("abc", "", True, "---", id="without names"),
            pytest.param("abc", "", False, "abc", id="without names, by base weights"),
        ],
    )
    def test_points_mean_labels(self, labels: str, names: Any, trained: bool, means: str) -> None:
        points = "".join(f'<Label value="{label}"/>' for label in labels)
        config = CONFIG[: CONFIG.index('<Label value="nose"')] + points + "</KeyPointLabels></View>"
        found = pose([[10, 10, 0.9], [20, 10, 0.9], [30, 10, 0.9]], point_names=tuple(names))
        by_place = {x: label for label, (x, _) in places(write(found, config, trained=trained)).items()}
        assert "".join(by_place.get(x, "-") for x in (5, 10, 15)) == means

    def test_a_trained_version_takes_no_hints_for_strangers_weights(self) -> None:
        """A label with the index of a removed one: the version has no points for it."""
        config = INDEXED.replace('value="left"', 'value="ear"')
        found = pose([[10, 10, 0.9], [20, 10, 0.9], [30, 10, 0.9]], point_names=POINTS)
        assert list(places(write(found, config, trained=True))) == ["nose", "right"]
        assert list(places(write(found, config))) == ["nose", "ear", "right"]

    def test_ids_differ(self) -> None:
        found = pose([[[1, 1, 1], [2, 2, 1], [3, 3, 1]]] * 12, [(0, 0, 9, 9)] * 12)
        ids = [region["id"] for region in write(found)]
        assert len(set(ids)) == len(ids) == 48

    def test_nothing(self) -> None:
        assert write(pose(np.zeros((0, 3, 3)), ())) == []

    @given(st.data())
    @settings(max_examples=50)
    def test_the_sdk_accepts_every_prediction(self, data: st.DataObject) -> None:
        width, height = data.draw(st.integers(1, 10_000)), data.draw(st.integers(1, 10_000))
        number = st.floats(-2.0 * max(width, height), 3.0 * max(width, height)) | st.just(np.nan)
        corners = data.draw(st.lists(st.tuples(*[number] * 4), max_size=4))
        points = data.draw(st.tuples(*[st.tuples(number, number, st.floats(0, 1))] * (3 * len(corners))))
        found = pose(points, corners, width, height)
        for config in CONFIGS.values():
            write(found, config)
