"""Labeling configs: which controls are served, with which labels, and what is not an error."""

import pytest
from label_studio_sdk.label_interface import LabelInterface

from shared.errors import LabelConfigError
from shared.labelstudio.class_labels import class_labels, unclear_classes
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.config_review import not_understood
from shared.labelstudio.controls import Control, Label

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


# The labeling config of the keypoints in Label Studio's YOLO example, shortened: its order is not that of the indices.
POSE = """
<View>
  <RectangleLabels name="keypoints_bbox" toName="image" model_skip="true"><Label value="person"/></RectangleLabels>
  <KeyPointLabels name="keypoints" toName="image" model_score_threshold="0.75" model_point_threshold="0.5"
    model_add_bboxes="true" model_point_size="1" model_path="yolov8n-pose.pt">
    <Label value="nose" predicted_values="person" model_index="0"/>
    <View><Label value="right_eye" predicted_values="person" model_index="2"/></View>
    <Label value="left_eye" predicted_values="person" model_index="1"/>
  </KeyPointLabels>
  <Image name="image" value="$image"/>
</View>
"""
LABELS = '<Label value="Tree"/><Label value="Rock"/>'


def on_image(tags: str) -> str:
    return f'<View><Image name="it" value="$it"/>{tags}</View>'


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


def test_everything_of_the_yolo_example_is_understood() -> None:
    assert not_understood(POSE) == ()
    assert not_understood(CONFIG) == ()


@pytest.mark.parametrize("when", ["", 'visibleWhen="never"', 'visibleWhen="region-selected" whenTagName="b"'])
def test_conditions_that_are_looked_at_are_understood(when: str) -> None:
    choices = f'<Choices name="c" toName="it" perRegion="true" {when}><Choice value="x"/></Choices>'
    boxes = f'<RectangleLabels name="b" toName="it">{LABELS}</RectangleLabels>'
    assert not_understood(on_image(f'{boxes}<View visibleWhen="region-selected">{choices}</View>')) == ()


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        (
            '<RectangleLabels name="l" toName="it" model_treshold="1">@</RectangleLabels>',
            "<RectangleLabels> 'l' says model_treshold, which labelloop does not know; did you mean "
            "model_score_threshold?",
        ),
        (
            '<PolygonLabels name="l" toName="it" model_obb="true">@</PolygonLabels>',
            "<PolygonLabels> 'l' says model_obb, which means something for RectangleLabels only",
        ),
        (
            '<RectangleLabels name="l" toName="it" score_threshold="high">@</RectangleLabels>',
            "<RectangleLabels> 'l' says score_threshold='high', which is not a number from 0 to 1: it is ignored",
        ),
        (
            '<RectangleLabels name="l" toName="it" model_obb="maybe">@</RectangleLabels>',
            "<RectangleLabels> 'l' says model_obb='maybe', which is not 1 or true or yes or 0 or false or no: it is "
            "ignored",
        ),
        (
            '<BrushLabels name="l" toName="it" model_tiles="12">@</BrushLabels>',
            "<BrushLabels> 'l' says model_tiles='12', which is not auto or off or a number from 64 to 8192: it is "
            "ignored",
        ),
        (
            '<Choices name="l" toName="it" model_tiles="640"><Choice value="x"/></Choices>',
            "<Choices> 'l' says model_tiles, which means something for RectangleLabels and PolygonLabels and "
            "BrushLabels and EllipseLabels and KeyPointLabels only",
        ),
        (
            '<Video name="f" value="$f"/><VideoRectangle name="v" toName="f" model_tiles="auto"/>'
            '<Labels name="l" toName="f">@</Labels>',
            "<VideoRectangle> 'v' says model_tiles, which means something for RectangleLabels and PolygonLabels and "
            "BrushLabels and EllipseLabels and KeyPointLabels only",
        ),
        (
            '<RectangleLabels name="l" toName="it"><Label value="a" model_index="0"/></RectangleLabels>',
            "<RectangleLabels> 'l' has model_index at 'a', which means something for points only",
        ),
        (
            '<RectangleLabels name="l" toName="it"><Label value="a" model_size="0"/></RectangleLabels>',
            "<RectangleLabels> 'l' says model_size at 'a', which labelloop does not know",
        ),
        (
            '<RectangleLabels name="l" toName="it" value="$labels"/>',
            "<RectangleLabels> 'l' is not served: it has no labels in the config: nothing can be learned, and nothing "
            "said of what is found",
        ),
        (
            '<PolygonLabels name="l" toName="it"/>',
            "<PolygonLabels> 'l' is not served: it has no labels in the config: nothing can be learned, and nothing "
            "said of what is found",
        ),
        (
            '<RectangleLabels name="l" toName="it"><Label value="Person"/><Label value="person"/></RectangleLabels>',
            "<RectangleLabels> 'l' has labels that one class of base weights could mean ('Person' and 'person'): until "
            "a training it means the one that is written exactly alike, or none",
        ),
        (
            '<Choices name="l" toName="it"><Choice value="Car" alias="Truck"/><Choice value="Truck" alias="Lorry"/>'
            "</Choices>",
            "<Choices> 'l' has labels that one class of base weights could mean ('Truck' and 'Lorry'): until a "
            "training it means the one that is written exactly alike, or none",
        ),
        (
            '<EllipseLabels name="l" toName="it">'
            + "".join(f'<Label value="{letter}"/>' for letter in "aAbBcCdD")
            + "</EllipseLabels>",
            "<EllipseLabels> 'l' has labels that one class of base weights could mean ('a' and 'A', 'b' and 'B', 'c' "
            "and 'C', …): until a training it means the one that is written exactly alike, or none",
        ),
        (
            '<Rectangle name="l" toName="it"/>',
            "<Rectangle> 'l' is not served: it has no labels: give it a <Labels> with toName=\"it\"",
        ),
        ('<Labels name="l" toName="it">@</Labels>', "<Labels> 'l' is not served: labelloop knows no such control"),
        ('<TextArea name="t" toName="it"/>', "<TextArea> 't' is not served: labelloop knows no such control"),
        (
            '<Video name="f" value="$f"/><VideoRectangle name="v" toName="f" botsort_track_buffer="9"/>'
            '<Labels name="l" toName="f">@</Labels>',
            "<VideoRectangle> 'v' says botsort_track_buffer, which labelloop does not know",
        ),
        (
            '<Video name="f" value="$f"/><TimelineLabels name="t" toName="f" model_trainable="1">@</TimelineLabels>',
            "<TimelineLabels> 't' says model_trainable, which labelloop does not know",
        ),
        (
            '<Repeater on="$pages" indexFlag="{{idx}}"><Image name="page_{{idx}}" value="$pages[{{idx}}].image"/>'
            '<RectangleLabels name="labels_{{idx}}" toName="page_{{idx}}">@</RectangleLabels></Repeater>',
            "<RectangleLabels> 'labels_{{idx}}' is not served: it is one of many in a <Repeater> ({{idx}}): which "
            "there are depends on the task",
        ),
        (
            '<Image name="many" valueList="$pages"/><RectangleLabels name="l" toName="many">@</RectangleLabels>',
            "<RectangleLabels> 'l' is not served: it looks at a <Image> with valueList: several files in one tag are "
            "not served",
        ),
        (
            '<Image name="one" value="https://host/a.jpg"/><RectangleLabels name="l" toName="one">@</RectangleLabels>',
            "<RectangleLabels> 'l' is not served: it looks at a <Image> without value=\"$…\", one file of the "
            "task's data",
        ),
        (
            '<VideoRectangle name="v" toName="it"/>',
            "<VideoRectangle> 'v' is not served: it cannot be served on <Image>",
        ),
        (
            '<Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices>',
            "<Choices> 'c' is not served: it looks at a <Text>: labelloop reads <Image> and <Video>",
        ),
        (
            '<Choices name="c" toName="it" value="$choices"/>',
            "<Choices> 'c' is not served: it takes its choices from the data of each task (value=\"$choices\")",
        ),
        (
            '<Choices name="c" toName="it" allowNested="true"><Choice value="a"/></Choices>',
            "<Choices> 'c' is not served: it has allowNested=\"true\": Label Studio takes no predictions of paths",
        ),
        (
            '<Choices name="c" toName="it"><Choice value="a"><Choice value="b"/></Choice></Choices>',
            "<Choices> 'c' has choices inside 'a': Label Studio offers them with allowNested only",
        ),
        (
            '<KeyPointLabels name="k" toName="it">@</KeyPointLabels>',
            "<KeyPointLabels> 'k' is given no boxes around its points, since there is no RectangleLabels for them: add "
            'one named "k_bbox" with model_skip="true", or say model_add_bboxes="false"',
        ),
        (
            '<RectangleLabels name="b" toName="it">@</RectangleLabels>'
            '<KeyPointLabels name="k" toName="it">@</KeyPointLabels>',
            "<KeyPointLabels> 'k' and 'b' both predict the boxes of 'b': give that one model_skip=\"true\", or say "
            'model_add_bboxes="false"',
        ),
        (
            '<KeyPointLabels name="k" toName="it" model_add_bboxes="false"><Label value="a" model_index="1"/>'
            '<Label value="b" model_index="1"/></KeyPointLabels>',
            "<KeyPointLabels> 'k' has model_index=1 at two labels: the first one gets the point",
        ),
        (
            '<KeyPointLabels name="k" toName="it" model_add_bboxes="false"><Label value="a" model_index="1"/>'
            '<Label value="b"/></KeyPointLabels>',
            "<KeyPointLabels> 'k' has labels without model_index ('b'): base weights give them no points",
        ),
        (
            '<RectangleLabels name="b" toName="it">@</RectangleLabels><Choices name="c" toName="it" perRegion="true" '
            'whenTagName="b"><Choice value="x"/></Choices>',
            "<Choices> 'c' says whenTagName, which Label Studio reads with visibleWhen=\"region-selected\" only",
        ),
        (
            '<RectangleLabels name="b" toName="it">@</RectangleLabels><Choices name="c" toName="it" perRegion="true" '
            'visibleWhen="region-selected" whenTagName="other"><Choice value="x"/></Choices>',
            "<Choices> 'c' is asked of regions of 'other' only (whenTagName): no control of that name is served",
        ),
        (
            '<Choices name="c" toName="it" visibleWhen="choice-selected" whenTagName="d"><Choice value="x"/></Choices>',
            "<Choices> 'c' is predicted whether it is shown or not: visibleWhen='choice-selected' is not looked at",
        ),
        (
            '<Choices name="c" toName="it" whenChoiceValue="y"><Choice value="x"/></Choices>',
            "<Choices> 'c' is predicted whether it is shown or not: whenChoiceValue is not looked at",
        ),
        (
            '<RectangleLabels name="b" toName="it">@</RectangleLabels><View visibleWhen="region-selected" '
            'whenTagName="b"><Choices name="c" toName="it" perRegion="true"><Choice value="x"/></Choices></View>',
            "<Choices> 'c' is predicted whether it is shown or not: visibleWhen='region-selected' of the <View> around "
            "it is not looked at",
        ),
    ],
)
def test_what_is_not_understood_is_named(tags: str, sentence: str) -> None:
    assert not_understood(on_image(tags.replace("@", LABELS))) == (sentence,)


def test_a_model_index_that_is_no_number() -> None:
    tag = '<KeyPointLabels name="k" toName="it" model_add_bboxes="no">'
    points = f'{tag}<Label value="a" model_index="-1"/></KeyPointLabels>'
    assert not_understood(on_image(points)) == (
        "<KeyPointLabels> 'k' has model_index='-1' at 'a', which is not a number from 0",
    )


def test_of_many_sentences_the_first_are_told() -> None:
    unknown = " ".join(f'model_{number}="1"' for number in range(1000))
    told = not_understood(on_image(f'<RectangleLabels name="l" toName="it" {unknown}>{LABELS}</RectangleLabels>'))
    assert len(told) == 51
    assert told[-1] == "and there is more that is not understood"
