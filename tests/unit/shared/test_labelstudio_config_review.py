"""What labelloop does not understand in a labeling config is named in a sentence."""

import pytest

from shared.labelstudio.config_review import not_understood
from tests.samples.label_configs import CONFIG, LABELS, POSE, on_image


def test_everything_of_the_yolo_example_is_understood() -> None:
    assert not_understood(POSE) == ()
    assert not_understood(CONFIG) == ()


@pytest.mark.parametrize("when", ["", 'visibleWhen="never"', 'visibleWhen="region-selected" whenTagName="b"'])
def test_conditions_that_are_looked_at_are_understood(when: str) -> None:
    choices = f'<Choices name="c" toName="it" perRegion="true" {when}><Choice value="x"/></Choices>'
    boxes = f'<RectangleLabels name="b" toName="it">{LABELS}</RectangleLabels>'
    assert not_understood(on_image(f'{boxes}<View visibleWhen="region-selected">{choices}</View>')) == ()


def test_of_a_view_around_choices_the_condition_is_looked_at() -> None:
    boxes = f'<RectangleLabels name="b" toName="it">{LABELS}</RectangleLabels>'
    choices = '<Choices name="c" toName="it" perRegion="true"><Choice value="x"/></Choices>'
    view = '<View visibleWhen="region-selected" whenTagName="b">'
    assert not_understood(on_image(f"{boxes}{view}<View>{choices}</View></View>")) == ()
    twice = not_understood(on_image(f"{boxes}{view}{view}{choices}</View></View>"))
    assert len(twice) == 2, "a control holds one"


def test_a_magic_wand_paints_for_the_brush() -> None:
    tags = '<MagicWand name="m" toName="it"/><Labels name="l" toName="it">@</Labels>'.replace("@", LABELS)
    assert not_understood(on_image(f'<Brush name="b" toName="it"/>{tags}')) == ()
    alone = "<MagicWand> 'm' is not served: labelloop knows no such control"
    assert alone in not_understood(on_image(f'<Polygon name="p" toName="it"/>{tags}'))


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
        (
            '<Rectangle name="r" toName="it"/><Labels name="k" toName="it">@</Labels>'
            '<Labels name="l" toName="it"><Label value="a"/></Labels>',
            "<Labels> 'l' is not served: the shapes of 'it' have the labels of 'k' alone",
        ),
        (
            '<Rectangle name="r" toName="it"/><Labels name="k" toName="it" model_skip="true">@</Labels>',
            "<Labels> 'k' says model_skip, which means something for the tag that draws, or chooses, only",
        ),
        (
            '<View conf="0.5"><RectangleLabels name="l" toName="it">@</RectangleLabels></View>',
            "<View> '' says conf, which means something for the tag that draws, or chooses, only",
        ),
        (
            '<Image name="b" value="$b"/><Choices name="c" toName="it,b"><Choice value="x"/></Choices>',
            "<Choices> 'c' is not served: it looks at several tags (toName=\"it,b\"): labelloop looks at one image or "
            "video",
        ),
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
            '<Choices name="c" toName="it"><Choice value="$a"/><Choice value="not $b"/></Choices>',
            "<Choices> 'c' is not served: it takes its choices from the data of each task (value=\"$a\")",
        ),
        (
            '<Choices name="c" toName="it"><Choice value="$a"/><Choice value="$b" alias="b"/></Choices>',
            "<Choices> 'c' has the choice '$a', which the data of each task says: it is not predicted",
        ),
        (
            '<RectangleLabels name="l" toName="it" value="$labels">@<Label value="$c"/></RectangleLabels>',
            "<RectangleLabels> 'l' takes further labels from the data of each task (value='$labels'): they are not "
            "predicted",
        ),
        (
            '<Rectangle name="r" toName="it"/><Labels name="l" toName="it" value="$labels">@</Labels>',
            "<Rectangle> 'r' takes further labels from the data of each task (value='$labels'): they are not predicted",
        ),
        (
            '<RectangleLabels name="l" toName="it">@<Label> Car </Label></RectangleLabels>',
            "<RectangleLabels> 'l' has a <Label> with 'Car' inside, which Label Studio's page takes for its name, and "
            'its check of predictions does not: write <Label value="…"/>',
        ),
        (
            '<Choices name="c" toName="it"><Choice value="">A</Choice><Choice value="b" alias="c">B</Choice></Choices>',
            "<Choices> 'c' has a <Choice> with 'A' inside, which Label Studio's page takes for its name, and its check "
            'of predictions does not: write <Choice value="…"/>',
        ),
        (
            '<Rectangle name="r" toName="it"/><Labels name="l" toName="it"><Label value="a" model_index="0"/></Labels>',
            "<Rectangle> 'r' has model_index at 'a', which means something for points only",
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
            'whenTagName="b"><Choices name="c" toName="it" perRegion="true" whenLabelValue="x"><Choice value="x"/>'
            "</Choices></View>",
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
