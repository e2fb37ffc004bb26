"""The labeling config with a tool for clicks: only that is added, and taken out again to the letter."""

from functools import partial

import pytest
from label_studio_sdk.label_interface import LabelInterface

from infra.cli.checks import check_project
from infra.cli.click_tools import with_click_tools, without_click_tools, without_tools
from infra.cli.smart_tools import check_smart, offer_click_tools, outbound_smart, remove_click_tools
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.config_review import not_understood
from shared.objectstore import ObjectStore
from shared.state.projects import read_project
from tests.fakes.label_studio_project import CONFIG, UID, OneProject

PLAIN = """<View>
  <!-- trees > stones -->
  <Image name="image" value="$image" zoom="true"/>
  <RectangleLabels name="label" toName="image"  strokeWidth='3'>
    <Label value="Großer &quot;Tree&quot; &amp; &lt;Bush&gt;" background="#0f0" hotkey="t"/>
    <Label value="Car" alias="auto"/>
  </RectangleLabels> <?x y?>
</View>
"""
ADDED = """  </RectangleLabels>
  <KeyPointLabels name="label_click" toName="image" smart="true" smartOnly="true">
    <Label value="Großer &quot;Tree&quot; &amp; &lt;Bush&gt;" background="#0f0" />
    <Label value="Car" alias="auto" />
  </KeyPointLabels> <?x y?>
"""
CONFIGS = [
    PLAIN,
    PLAIN.replace("\n", "").replace("<View>", '<?xml version="1.0" encoding="latin-1"?><View>'),
    '<View><Labels name="l" toName="i"><Label value="A"/></Labels><Rectangle name="r" toName="i" title="a > b"/>'
    '<Polygon name="p" toName="i"/><Image name="i" value="$i"/></View>',
    '<View><Image name="i" value="$i"/><View style="x"><BrushLabels name="b" toName="i"><View><Label value="A"/></View>'
    '</BrushLabels></View><Choices name="c" toName="i"><Choice value="A"/></Choices></View>',
]


def test_a_tool_follows_its_control() -> None:
    wanted = with_click_tools(PLAIN, parse_label_config(PLAIN))
    assert wanted == PLAIN.replace("  </RectangleLabels> <?x y?>\n", ADDED)


@pytest.mark.parametrize("config", CONFIGS)
def test_nothing_else_changes(config: str) -> None:
    controls = parse_label_config(config)
    without = without_tools(config, controls)
    assert [control.name for control in without] == [control.name for control in controls if control.tag != "Choices"]
    wanted = with_click_tools(config, without)
    assert parse_label_config(wanted) == controls, "a tool is no control"
    assert without_tools(wanted, controls) == []
    assert not_understood(wanted) == not_understood(config)
    LabelInterface(wanted[wanted.index("<View") :]).validate()
    assert without_click_tools(wanted, controls) == config
    assert without_click_tools(config, controls) == config


def test_of_shapes_that_share_labels_the_tools_follow_these() -> None:
    config = CONFIGS[2].replace("</Labels>", "</Labels>\n")
    names = [control.name for control in parse_label_config(config)]
    wanted = with_click_tools(config, parse_label_config(config))
    assert names == ["r", "p"]
    places = [wanted.index(f'name="{name}"') for name in ("l", "r_click", "p_click", "r")]
    assert places == sorted(places), "so that the numbers of the labels stay"


def test_a_tool_of_ones_own_does_and_stays() -> None:
    tool = '<KeyPointLabels name="mine" toName="image" smart="true"><Label value="Car" alias="auto"/></KeyPointLabels>'
    own = PLAIN.replace("</View>", f"{tool}</View>")
    controls = parse_label_config(own)
    assert without_tools(own, controls) == []
    assert without_click_tools(own, controls) == own
    other = own.replace('toName="image" smart', 'toName="other" smart').replace(
        "</View>", '<Image name="other"/></View>'
    )
    assert [control.name for control in without_tools(other, parse_label_config(other))] == ["label"]


def test_a_key_point_that_only_asks_is_the_tool_of_the_shapes_that_share_its_labels() -> None:
    point = '<KeyPoint name="r_click" toName="i" smart="true" smartOnly="true"/>'
    config = CONFIGS[2].replace("</View>", point + "</View>")
    controls = parse_label_config(config)
    assert [control.name for control in controls] == ["r", "p"]
    assert not_understood(config) == ()
    assert without_tools(config, controls) == []
    assert without_click_tools(config, controls) == config, "it was not added by labelloop"


def test_it_is_added_if_a_person_agrees_and_removed_again(file_store: ObjectStore) -> None:
    studio, seen = OneProject(), list[str]()

    def now() -> str:
        return str(studio.project_answer["label_config"])

    def answered(agreed: bool, lines: str) -> bool:
        seen.append(lines)
        return agreed

    for agreed, level in ((False, "ok"), (True, "changed"), (True, "ok")):
        _, project = check_project(studio, "7")
        assert project is not None
        before = now()
        offered = offer_click_tools(studio, file_store, project, partial(answered, agreed))
        assert offered.level == level
        assert (now() != before) == (level == "changed")
    assert len(seen) == 2
    assert "+" in seen[0]
    record = read_project(file_store, UID)
    assert record is not None
    assert record.label_config == now() != CONFIG
    _, project = check_project(studio, "7")
    assert project is not None
    assert [finding.remedy for finding in check_smart(project)] == [""]
    removed = remove_click_tools(studio, project)
    assert removed is not None
    assert (removed.level, now()) == ("changed", CONFIG)
    _, project = check_project(studio, "7")
    assert project is not None
    assert remove_click_tools(studio, project) is None
    (said,) = check_smart(project)
    assert said.remedy.startswith("`labelloop connect --project 7 --smart`")
    assert "without inbound calls" in outbound_smart(project)[0].message
