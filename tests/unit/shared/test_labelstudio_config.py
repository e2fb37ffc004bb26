"""Labeling configs: which controls are served, with which labels, and what is not an error."""

import re

import pytest
from label_studio_sdk.label_interface import LabelInterface

from shared.errors import LabelConfigError
from shared.labelstudio.class_labels import class_labels, unclear_classes
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.config_review import not_understood
from shared.labelstudio.controls import Control, Label
from tests.samples.label_configs import CONFIG, LABELS, POSE, on_image


def test_controls_and_labels() -> None:
    control, quality = parse_label_config(CONFIG)
    assert (quality.name, quality.tag, quality.yolo_task) == ("quality", "Choices", "classify")
    assert quality.labels == (Label("good", (), "good"),)
    assert (control.name, control.to_name, control.value) == ("label", "image", "$photo")
    assert (control.tag, control.yolo_task) == ("RectangleLabels", "detect")
    assert control.attributes["model_score_threshold"] == "0.5"
    assert control.labels == (Label("Tree", (), "Tree"), Label("car", ("car", "truck"), "Passenger car"))


def test_labels_are_those_that_label_studios_own_parser_finds() -> None:
    control, _ = parse_label_config(CONFIG)
    assert list(control.label_values) == LabelInterface(CONFIG).get_control("label").labels


def test_class_names_of_base_weights_find_their_labels() -> None:
    control, _ = parse_label_config(CONFIG)
    names = ["tree", "TRUCK", "Car", "passenger CAR", "person", ""]
    assert class_labels(names, control, trained=False) == ["Tree", "car", "car", "car", None, None]


def test_predicted_values_win_over_names() -> None:
    config = CONFIG.replace('value="Tree"', 'value="Tree" predicted_values="Passenger car"')
    control = parse_label_config(config)[0]
    assert class_labels(["passenger car", "Passenger car"], control, trained=False) == ["Tree", "Tree"]


def rectangles(*labels: str) -> Control:
    """A control with these `<Label …/>`."""
    tags = "".join(f"<Label {label}/>" for label in labels)
    return only(f'<RectangleLabels name="l" toName="it">{tags}</RectangleLabels>')


TRUCKS = ('value="Vehicle" predicted_values="car,truck"', 'value="Truck"')
SWAPPED = ('value="Car" alias="Truck"', 'value="Truck" alias="Lorry"')


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param([f'value="{label}"' for label in "aAbB"], list("aAbB"), id="cases"),
        pytest.param(['value="Person"', 'value="person"'], ["Person", "person"], id="a word in two cases"),
        pytest.param(TRUCKS, ["Vehicle", "Truck"], id="a class that another label names"),
        pytest.param(SWAPPED, ["Truck", "Lorry"], id="an alias that is another label's value"),
        pytest.param(['value="ß"', 'value="SS"', 'value="ss"'], ["ß", "SS", "ss"], id="letters that fold alike"),
    ],
)
def test_a_trained_version_knows_every_label_as_it_is_written(labels: list[str], names: list[str]) -> None:
    control = rectangles(*labels)
    assert list(control.class_names) == names
    assert class_labels(names, control, trained=True) == names
    swapped = [name.swapcase() for name in names if name.swapcase() not in names]
    assert class_labels([*swapped, "car", "truck", "Car", ""], control, trained=True) == [None] * (len(swapped) + 4)


@pytest.mark.parametrize(
    ("labels", "name", "means", "rivals"),
    [
        pytest.param(['value="Person"', 'value="person"'], "person", "person", (), id="as written"),
        pytest.param(['value="Person"', 'value="person"'], "PERSON", None, ("Person", "person"), id="as neither"),
        pytest.param(TRUCKS, "truck", "Vehicle", (), id="predicted_values say it"),
        pytest.param(TRUCKS, "Truck", "Truck", (), id="predicted_values say it in another case"),
        pytest.param(SWAPPED, "Truck", None, ("Truck", "Lorry"), id="stored so by one, shown so by another"),
        pytest.param(SWAPPED, "lorry", "Lorry", (), id="an alias"),
        pytest.param(
            ['value="A" predicted_values="dog"', 'value="B" predicted_values="dog,cat"'],
            "dog",
            None,
            ("A", "B"),
            id="predicted_values of two",
        ),
    ],
)
def test_a_class_of_base_weights_means_a_label_where_that_is_clear(
    labels: list[str], name: str, means: str | None, rivals: tuple[str, ...]
) -> None:
    control = rectangles(*labels)
    assert class_labels([name], control, trained=False) == [means]
    assert unclear_classes([name, "zebra"], control) == ({name: rivals} if rivals else {})


BOXES = "<RectangleLabels name='l' toName='i'><Label value='a'/></RectangleLabels>"


@pytest.mark.parametrize(
    "config",
    [
        "<View/>",
        "<View><Text name='t' value='$t'/><Labels name='l' toName='t'><Label value='a'/></Labels></View>",
        "<View><RectangleLabels name='l' toName='missing'><Label value='a'/></RectangleLabels></View>",
        f"<View><Image name='i' value='fixed.png'/>{BOXES}</View>",
        f"<View><Image name='i' valueList='$list'/>{BOXES}</View>",
        "<View><Image name='i' value='$i'/><RectangleLabels toName='i'><Label value='a'/></RectangleLabels></View>",
        f"<View><Image name='i' value='$i' valueList='$list'/>{BOXES}</View>",
        f"<View><Repeater on='$list'><Image name='i' value='$list[{{{{idx}}}}]'/>{BOXES}</Repeater></View>",
        f"<View><Repeater on='$list' indexFlag='{{{{n}}}}'><Image name='i' value='$i'/></Repeater>{BOXES}</View>",
        "<View><Image name='i' value='$i'/>" + BOXES.replace("'l'", "'l_{{idx}}'") + "</View>",
        *(
            f"<View><Image name='i' value='$i'/><{tag} name='l' toName='i'></{tag}></View>"
            for tag in ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels", "KeyPointLabels", "Choices")
        ),
        "<View><Image name='i' value='$i'/><Polygon name='l' toName='i'/><Labels name='n' toName='i'/></View>",
        "<View><Video name='i' value='$i'/><TimelineLabels name='l' toName='i'><Label/></TimelineLabels></View>",
        "<View><Video name='i' value='$i'/><VideoRectangle name='l' toName='i'/><Labels name='n' toName='i'/></View>",
    ],
    ids=[
        "empty",
        "no image",
        "image missing",
        "fixed image",
        "list of images",
        "no name",
        "an image and a list",
        "Repeater",
        "image in a Repeater",
        "name of a Repeater",
        "RectangleLabels without labels",
        "PolygonLabels without",
        "BrushLabels without",
        "EllipseLabels without",
        "KeyPointLabels without",
        "Choices without",
        "Polygon without",
        "TimelineLabels without",
        "VideoRectangle without",
    ],
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
            "<View><Image name='i' value='$i'/>" + 2 * BOXES + "</View>",
            "same name",
        ),
        ("<View>" + " " * 1_000_000 + "</View>", "1000013 characters"),
        (
            "<View><Image name='i' value='$i'/><RectangleLabels name='a' toName='i'><View>"
            "<RectangleLabels name='b' toName='i'><Label value='x'/></RectangleLabels>"
            "</View></RectangleLabels></View>",
            "another control",
        ),
        (
            "<View><Image name='i' value='$i'/>" + BOXES.replace("name='l'", f"name='{'树' * 23}'") + "</View>",
            "too long",
        ),
        (f"<View><Image name='i' value='${'i' * 1000}'/>{BOXES}</View>", "too long"),
        (
            "<View>" + 201 * "<Choices name='c'/>" + "</View>",
            "201 controls, more than 200",
        ),
        (
            "<View><Image name='i' value='$i'/><Choices name='c' toName='i'>"
            + "".join(f"<Choice value='{number}'/>" for number in range(2001))
            + "</Choices></View>",
            "2001 labels",
        ),
    ],
)
def test_broken(config: str, words: str) -> None:
    with pytest.raises(LabelConfigError, match=words):
        parse_label_config(config)


def only(tags: str) -> Control:
    (control,) = parse_label_config(on_image(tags))
    return control


@pytest.mark.parametrize(
    ("tag", "attributes", "yolo_task"),
    [
        ("RectangleLabels", "", "detect"),
        ("RectangleLabels", 'model_obb="True"', "obb"),
        ("PolygonLabels", "", "segment"),
        ("BrushLabels", "", "segment"),
        ("EllipseLabels", "", "segment"),
        ("EllipseLabels", 'model_task="detect"', "detect"),
        ("KeyPointLabels", "", "pose"),
    ],
)
def test_shapes_hold_their_labels_or_find_them_beside(tag: str, attributes: str, yolo_task: str) -> None:
    control = only(f'<{tag} name="shape" toName="it" {attributes}>{LABELS}</{tag}>')
    assert (control.tag, control.yolo_task, control.labels_name) == (tag, yolo_task, "")
    bare = tag.removesuffix("Labels")
    pair = only(f'<{bare} name="shape" toName="it" {attributes}/><Labels name="kinds" toName="it">{LABELS}</Labels>')
    assert (pair.tag, pair.yolo_task, pair.labels_name) == (tag, yolo_task, "kinds")
    assert pair.label_values == control.label_values == ("Tree", "Rock")


def test_videos() -> None:
    boxes, when = parse_label_config(
        '<View><Video name="it" value="$clip" frameRate="25"/><VideoRectangle name="box" toName="it"/>'
        f'<Labels name="kinds" toName="it">{LABELS}</Labels>'
        f'<TimelineLabels name="when" toName="it">{LABELS}</TimelineLabels></View>'
    )
    assert (boxes.yolo_task, boxes.labels_name, boxes.media, boxes.frame_rate) == ("detect", "kinds", "video", "25")
    assert (when.yolo_task, when.label_values, when.media) == ("classify", ("Tree", "Rock"), "video")


def test_choices() -> None:
    tags = '<Choices name="what" toName="it" choice="multiple"{}><View><Choice value="A" alias="a"/></View></Choices>'
    assert not only(tags.format("")).per_region
    assert only(tags.format(' perRegion="true"')).per_region
    assert only(tags.format("")).labels == (Label("a", (), "A"),)


def test_tags_and_attributes_are_read_in_any_case_as_label_studios_editor_does() -> None:
    written = (
        '<View><Video name="film" value="$film" frameRate="25"/><TimelineLabels name="when" toName="film"><Label '
        'value="A" alias="a"/></TimelineLabels><Image name="it" value="$it"/><RectangleLabels name="box" toName="it">'
        '<Label value="A"/></RectangleLabels><Choices name="what" toName="it" perRegion="true" choice="multiple" '
        'visibleWhen="region-selected" whenTagName="box" whenLabelValue="A"><Choice value="x"/></Choices>'
        '<Choices name="paths" toName="it" allowNested="true"><Choice value="x"/></Choices><KeyPointLabels name="ask" '
        'toName="it" smartOnly="true"><Label value="A"/></KeyPointLabels><Image name="all" valueList="$all"/>'
        '<BrushLabels name="many" toName="all"><Label value="A"/></BrushLabels></View>'
    )
    lower = re.sub("</?[A-Za-z]+|[A-Za-z]+=", lambda found: found[0].lower(), written).replace("toname", "toName")
    assert lower != written
    assert parse_label_config(lower) == parse_label_config(written)
    assert [control.name for control in parse_label_config(lower)] == ["when", "box", "what"]
    assert not_understood(lower) == not_understood(written) != ()


def test_labels_that_label_studio_does_not_offer_are_none() -> None:
    """Choices inside choices, and the second of two that are stored alike."""
    inner = '<Choice value="a"><Choice value="b"/></Choice><Choice value="c" alias="a"/><Choice value="d"/>'
    assert only(f'<Choices name="what" toName="it">{inner}</Choices>').label_values == ("a", "d")


def test_deep_configs() -> None:
    deep = 20_000 * "<View>" + '<Choice value="a"/>' + 20_000 * "</View>"
    assert only(f'<Choices name="what" toName="it">{deep}</Choices>').label_values == ("a",)


class TestPose:
    def test_things_are_of_the_labels_of_their_boxes(self) -> None:
        (control,) = parse_label_config(POSE)
        assert (control.boxes_name, control.class_names) == ("keypoints_bbox", ("person",))
        assert class_labels(["Person", "dog"], control, trained=False) == ["person", None]
        assert class_labels(["person", "Person"], control, trained=True) == ["person", None]

    def test_without_boxes_there_is_one_class_named_like_the_control(self) -> None:
        (control,) = parse_label_config(POSE.replace("RectangleLabels", "PolygonLabels"))
        assert (control.boxes_name, control.class_names) == ("", ("keypoints",))
        names = ["person", "keypoints", "dog"]
        assert class_labels(names, control, trained=False) == ["keypoints", "keypoints", None]
        assert class_labels(names, control, trained=True) == [None, "keypoints", None]

    def test_the_only_boxes_of_the_image_are_those_of_the_points(self) -> None:
        (control,) = parse_label_config(POSE.replace("keypoints_bbox", "people"))
        assert control.boxes_name == "people"
        other = '<RectangleLabels name="{}" toName="image" model_skip="1"/><Image'
        (control,) = parse_label_config(POSE.replace("keypoints_bbox", "people").replace("<Image", other.format("b")))
        assert control.boxes_name == ""
        (control,) = parse_label_config(POSE.replace("<Image", other.format("b")))
        assert control.boxes_name == "keypoints_bbox"

    def test_a_tool_for_rough_boxes_holds_none_of_them(self) -> None:
        tool = '<RectangleLabels name="rough" toName="it" smartOnly="true" model_skip="{}"><Label value="a"/>'
        points = '</RectangleLabels><KeyPointLabels name="p" toName="it"><Label value="nose"/></KeyPointLabels>'
        assert only(tool.format("true") + points).boxes_name == ""
        assert only((tool.format("true") + points).replace("rough", "p_bbox")).boxes_name == "p_bbox"
        boxes, with_points = parse_label_config(on_image(tool.format("false") + points))
        assert (boxes.name, with_points.boxes_name) == ("rough", "rough"), "its own boxes, which the model draws"

    def test_points_are_in_the_order_of_the_model_indices_else_as_written(self) -> None:
        (control,) = parse_label_config(POSE)
        assert control.label_values == ("nose", "right_eye", "left_eye")
        assert control.point_names == ("nose", "left_eye", "right_eye")
        (control,) = parse_label_config(POSE.replace(' model_index="1"', ""))
        assert control.point_names == control.label_values
        (control,) = parse_label_config(CONFIG.replace("RectangleLabels", "PolygonLabels"))[:1]
        assert control.point_names == ()
        assert control.class_names == control.label_values


class TestAttributes:
    def test_older_names(self) -> None:
        attributes = 'score_threshold="0.3" iou="0.6" conf="0.2" model_conf="0.1"'
        control = only(f'<RectangleLabels name="l" toName="it" {attributes}>{LABELS}</RectangleLabels>')
        assert control.number("model_score_threshold", 0.5) == 0.3
        assert control.number("model_iou", 0.7) == 0.6
        assert control.number("model_conf", 0.25) == 0.1

    @pytest.mark.parametrize("written", ["", "high", "1.5", "-0.1", "nan", "inf"])
    def test_what_cannot_be_read_is_as_if_it_were_not_written(self, written: str) -> None:
        attributes = f'model_iou="{written}" model_add_bboxes="{written}"'
        control = only(f'<KeyPointLabels name="l" toName="it" {attributes}>{LABELS}</KeyPointLabels>')
        assert control.number("model_iou", 0.7) == 0.7
        assert control.flag("model_add_bboxes", default=True)
        assert not control.flag("model_add_bboxes")

    @pytest.mark.parametrize(("written", "skipped"), [("true", True), ("YES", True), ("1", True), ("false", False)])
    def test_skipped(self, written: str, skipped: bool) -> None:
        tags = f'<RectangleLabels name="l" toName="it" model_skip="{written}">{LABELS}</RectangleLabels>'
        assert parse_label_config(on_image(tags)) == () if skipped else len(parse_label_config(on_image(tags))) == 1
        assert not_understood(on_image(tags)) == ()


def test_an_image_with_several_controls_in_the_order_of_the_config() -> None:
    tags = "".join(f'<{tag} name="{tag}" toName="it">{LABELS}</{tag}>' for tag in ("PolygonLabels", "RectangleLabels"))
    assert [control.name for control in parse_label_config(on_image(tags))] == ["PolygonLabels", "RectangleLabels"]


def test_repeaters_in_repeaters_take_no_quadratic_time() -> None:
    """A megabyte of them took a minute, in which a function answered nothing else."""
    depth, inner = 3_000, "<A/>" * 150_000
    image = "<Image name='i' value='$i'/>"
    config = f"<View>{'<Repeater>' * depth}{inner}{image}{'</Repeater>' * depth}{BOXES}</View>"
    assert parse_label_config(config) == ()
    assert len(parse_label_config(config.replace("Repeater", "Style"))) == 1
