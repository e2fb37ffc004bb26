"""What doctor and the page say of labels that were renamed, removed or added, before the next run."""

from datetime import UTC, datetime

from functions.train_trigger.status.findings import Finding
from functions.train_trigger.status.model_checks import check_control
from shared.labelstudio.config import parse_label_config
from shared.state.base_weights import BaseWeights
from shared.state.versions import Manifest
from tests.samples.shown_projects import manifest

MADE = datetime(2026, 11, 1, tzinfo=UTC)
BASE = BaseWeights(name="yolo11n.pt", yolo_task="detect", names=("person",), files=())
LOST = "'Tree', which is not in the labeling config of 'label'"
BACK = "rename it back, or write alias='Tree' to the <Label> that it is called now; else "
TEACHES = (
    "the next training leaves out pictures that hold nothing else, and in the others learns such objects as background"
)


Found = list[Finding]


def checked(
    labels: str, serving: Manifest | None, held: dict[str, int] | None, tag: str = "Rectangle"
) -> list[Finding]:
    inner = "".join(labels.split("\n"))
    config = f'<View><Image name="i" value="$i"/><{tag}Labels name="label" toName="i">{inner}</{tag}Labels></View>'
    (control,) = parse_label_config(config.replace("ChoicesLabels", "Choices"))
    return [one for one in check_control(control, serving, BASE, "yolo11n.pt", held) if one.level != "ok"]


def v3(*labels: str) -> Manifest:
    return manifest(3, MADE, labels=labels)


RENAMED = '<Label value="tree crown"/>'


def test_a_renamed_label_is_one_story() -> None:
    lost, missing = checked(RENAMED, v3("Tree"), {"Tree": 21})
    assert lost.message == f"21 annotated tasks and v3 hold {LOST}"
    assert lost.remedy == f"{BACK}it is not predicted, and {TEACHES}"
    assert missing.message == "v3 has no class for any label of 'label': nothing is predicted"
    assert missing.remedy == "no annotated task holds 'tree crown' yet: training teaches what is annotated"


def test_before_the_first_version_and_before_anybody_counted() -> None:
    lost, missing = checked(RENAMED, None, {"Tree": 1})
    assert (lost.message, lost.remedy) == (f"1 annotated task holds {LOST}", f"{BACK}{TEACHES}")
    assert "predicted_values" in missing.remedy
    lost, missing = checked(RENAMED, v3("Tree"), None)
    assert (lost.message, lost.remedy) == (f"v3 was trained on {LOST}", f"{BACK}it is not predicted")
    assert missing.remedy == "the next training teaches them"


def test_an_alias_is_the_way_back() -> None:
    assert checked('<Label value="tree crown" alias="Tree"/>', v3("Tree"), {"Tree": 21}) == []


def test_an_added_label_is_learnt_once_it_is_annotated() -> None:
    labels = '<Label value="Tree"/>\n<Label value="Birch"/>\n<Label value="Oak"/>'
    (missing,) = checked(labels, v3("Tree"), {"Tree": 21, "Oak": 2})
    assert missing.message == "v3 has no class for 'Birch', 'Oak' of 'label': never predicted"
    assert missing.remedy == (
        "no annotated task holds 'Birch' yet: training teaches what is annotated; the next training teaches the others"
    )


def test_a_removed_choice() -> None:
    served = manifest(3, MADE, yolo_task="classify", labels=("wood", "field", "Tree"))
    (lost,) = checked('<Choice value="wood"/>\n<Choice value="field"/>', served, {"wood": 3, "Tree": 4}, tag="Choices")
    assert lost.remedy.endswith("it is not predicted, and the next training leaves out what has no other label")
    assert "<Choice>" in lost.remedy


def test_many_lost_labels_are_named_in_part() -> None:
    held = {f"x{number}": 1 for number in range(13)} | {"tree crown": 1}
    *named, more = checked(RENAMED, v3("tree crown"), held)
    assert len(named) == 10
    assert more.message == "and 3 more labels of annotations are not in the labeling config of 'label'"
