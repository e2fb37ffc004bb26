"""Labeling configs: which controls are served, under which labels, and what is no error."""

import pytest
from label_studio_sdk.label_interface import LabelInterface

from shared.errors import LabelConfigError
from shared.labelstudio.config import Label, parse_label_config
from shared.labelstudio.regions import class_labels

CONFIG = """
<View>
  <Header value="Cars &amp; trees"/>
  <Image name="image" value="$photo" zoom="true"/>
  <RectangleLabels name="label" toName="image" model_score_threshold="0.5">
    <Label value="Tree" background="green"/>
    <View><Label value="Passenger car" alias="car" predicted_values="car, truck ,,"/></View>
    <Label/>
  </RectangleLabels>
  <Choices name="quality" toName="image"><Choice value="good"/></Choices>
</View>
"""


def test_controls_and_labels() -> None:
    control, quality = parse_label_config(CONFIG)
    assert (quality.name, quality.tag, quality.yolo_task) == ("quality", "Choices", "classify")
    assert quality.labels == (Label("good", (), "good"),)
    assert (control.name, control.to_name, control.value_key) == ("label", "image", "photo")
    assert (control.tag, control.yolo_task) == ("RectangleLabels", "detect")
    assert control.attributes["model_score_threshold"] == "0.5"
    assert control.labels == (Label("Tree", (), "Tree"), Label("car", ("car", "truck"), "Passenger car"))


def test_labels_are_those_that_label_studios_own_parser_finds() -> None:
    control, _ = parse_label_config(CONFIG)
    assert list(control.label_values) == LabelInterface(CONFIG).get_control("label").labels


def test_class_names_find_their_labels() -> None:
    control, _ = parse_label_config(CONFIG)
    names = ["tree", "TRUCK", "Car", "passenger CAR", "person", ""]
    assert class_labels(names, control) == ["Tree", "car", "car", "car", None, None]


def test_predicted_values_win_over_names() -> None:
    config = CONFIG.replace('value="Tree"', 'value="Tree" predicted_values="Passenger car"')
    assert class_labels(["passenger car"], parse_label_config(config)[0]) == ["Tree"]


@pytest.mark.parametrize(
    "config",
    [
        "<View/>",
        "<View><Text name='t' value='$t'/><Labels name='l' toName='t'><Label value='a'/></Labels></View>",
        "<View><RectangleLabels name='l' toName='missing'><Label value='a'/></RectangleLabels></View>",
        "<View><Image name='i' value='fixed.png'/><RectangleLabels name='l' toName='i'/></View>",
        "<View><Image name='i' valueList='$list'/><RectangleLabels name='l' toName='i'/></View>",
        "<View><Image name='i' value='$i'/><RectangleLabels toName='i'/></View>",
    ],
    ids=["empty", "no image", "image missing", "fixed image", "list of images", "no name"],
)
def test_what_cannot_be_served_is_left_out(config: str) -> None:
    assert parse_label_config(config) == ()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("", "not well-formed"),
        ("<View>", "not well-formed"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "not well-formed"),
        (
            "<View><Image name='i' value='$i'/>" + 2 * "<RectangleLabels name='same' toName='i'/>" + "</View>",
            "same name",
        ),
        ("<View>" + " " * 1_000_000 + "</View>", "1000013 characters"),
        (
            "<View><Image name='i' value='$i'/><RectangleLabels name='a' toName='i'><View>"
            "<RectangleLabels name='b' toName='i'><Label value='x'/></RectangleLabels>"
            "</View></RectangleLabels></View>",
            "another control",
        ),
        (f"<View><Image name='i' value='$i'/><RectangleLabels name='{'树' * 23}' toName='i'/></View>", "too long"),
        (f"<View><Image name='i' value='${'i' * 100}'/><RectangleLabels name='l' toName='i'/></View>", "too long"),
    ],
)
def test_broken(config: str, words: str) -> None:
    with pytest.raises(LabelConfigError, match=words):
        parse_label_config(config)
