"""In how many annotated tasks labels stand, and which of them the labeling config does not have."""

from typing import Any

import pytest

from shared.labelstudio.config import parse_label_config
from shared.labelstudio.held_labels import HeldLabels, count_of, outside, outside_sentences, way_back

BOXES = (
    '<RectangleLabels name="label" toName="image"><Label value="tree crown" alias="Tree"/><Label value="Rock"/>'
    "</RectangleLabels>"
)
KIND = '<Choices name="kind" toName="image"><Choice value="wood"/><Choice value="field"/></Choices>'


def config(*tags: str) -> str:
    return f'<View><Image name="image" value="$image"/>{"".join(tags)}</View>'


def region(label: Any, name: str = "label", key: str = "rectanglelabels", **value: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": key, "value": {key: label, **value}}


@pytest.mark.parametrize(
    ("tasks", "held"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param([[region(["Tree"]), region(["Tree"])], [region(["Tree"])]], {"Tree": 2}, id="tasks, not regions"),
        pytest.param([[region(["Birch"])], [region(["Rock"])]], {"Rock": 1, "Birch": 1}, id="the config's come first"),
        pytest.param([[region(["tree crown"])]], {"tree crown": 1}, id="an alias is what regions hold"),
        pytest.param([[region("Tree")], [region([["Tree"]])], [region(None)]], {}, id="what is no list of words"),
        pytest.param([[region(["x" * 201])]], {}, id="no label is that long"),
        pytest.param([[region(["Tree"], name="other")]], {}, id="another tag's"),
    ],
)
def test_tasks_by_label(tasks: list[list[dict[str, Any]]], held: dict[str, int]) -> None:
    counted = HeldLabels(parse_label_config(config(BOXES)))
    for regions in tasks:
        counted.add(regions)
    assert list(counted.tasks()["label"].items()) == list(held.items())


def test_each_control_has_its_own() -> None:
    counted = HeldLabels(parse_label_config(config(BOXES, KIND)))
    counted.add([region(["Tree"]), region(["wood"], "kind", "choices")])
    assert counted.tasks() == {"label": {"Tree": 1}, "kind": {"wood": 1}}


def test_of_labels_outside_the_config_the_most_frequent_are_kept() -> None:
    counted = HeldLabels(parse_label_config(config(BOXES)))
    for number in range(40):
        counted.add([region([f"x{other}" for other in range(number + 1)])])
    assert list(counted.tasks()["label"]) == [f"x{number}" for number in range(20)]


def test_what_a_timeline_leaves_over_holds_no_label() -> None:
    video = (
        '<View><Video name="video" value="$video"/><TimelineLabels name="when" toName="video"><Label value="walks"/>'
        "</TimelineLabels></View>"
    )
    counted = HeldLabels(parse_label_config(video))
    counted.add([region(["walks"], "when", "timelinelabels")])
    assert counted.tasks() == {"when": {}}
    counted.add([region(["walks"], "when", "timelinelabels", ranges=[{"start": 1, "end": 2}])])
    assert counted.tasks() == {"when": {"walks": 1}}


def test_what_is_said_of_labels_that_the_config_does_not_have() -> None:
    boxes, kind = parse_label_config(config(BOXES, KIND))
    held = {"Tree": 21, "tree crown": 1, "Birch": 3}
    assert outside(boxes, held) == {"tree crown": 1, "Birch": 3}
    assert outside_sentences(boxes, held) == [
        "1 annotated task holds 'tree crown', which is not in the labeling config of 'label'",
        "3 annotated tasks hold 'Birch', which is not in the labeling config of 'label'",
    ]
    assert count_of(1, "v3") == "1 annotated task and v3 hold"
    assert way_back(boxes, "Birch") == "rename it back, or write alias='Birch' to the <Label> that it is called now"
    assert "<Choice>" in way_back(kind, "forest")
