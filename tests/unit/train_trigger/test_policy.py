"""What is in force for a project, and where each limit, threshold and preset comes from."""

from datetime import UTC, datetime

import pytest

from functions.train_trigger.status.policy import GATE, Rule, presets, rules, thresholds
from jobs.train.gate import COLLAPSE, MAX_WORSE
from shared.evolve import evolve
from shared.labelstudio.config import parse_label_config
from shared.settings import Settings
from shared.state.projects import OVERRIDABLE, Project
from shared.state.versions import Shown
from tests.samples.shown_projects import TREES_CONFIG, manifest

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def rule(name: str, settings: Settings | None = None, **overrides: object) -> Rule:
    project = Project(label_config=TREES_CONFIG, overrides=overrides)
    (found,) = (one for one in rules(settings or Settings(), project) if one.name == name)
    return found


def test_every_setting_that_a_project_may_have_for_itself_is_shown() -> None:
    assert {one.name for one in rules(Settings(), None)} >= set(OVERRIDABLE)


@pytest.mark.parametrize(
    ("name", "value", "origin"),
    [
        ("cool_down", "300 s (5 min)", "default"),
        ("budget_day", "no limit", "default"),
        ("epochs", "chosen by the number of images", "default"),
        ("confidence", "chosen by each version", "default"),
        ("control_group", "0", "default"),
    ],
)
def test_what_nobody_set(name: str, value: str, origin: str) -> None:
    assert (rule(name).value, rule(name).origin) == (value, origin)


def test_where_a_value_comes_from() -> None:
    settings = Settings.from_environ({"LABELLOOP_COOL_DOWN": "60", "LABELLOOP_LONGEST_RUN": "900"})
    assert (rule("cool_down", settings).value, rule("cool_down", settings).origin) == ("60 s", "environment")
    own = rule("min_annotations", settings, min_annotations=50)
    assert (own.value, own.raw, own.origin, own.limited) == ("50 tasks", 50, "project", "")
    known = {one.name: one.origin for one in rules(settings, None, {"LABELLOOP_COOL_DOWN": "labelloop.env"})}
    assert (known["cool_down"], known["longest_run"]) == ("labelloop.env", "default")


def test_what_the_operator_does_not_allow() -> None:
    settings = Settings.from_environ({"LABELLOOP_COOL_DOWN": "60", "LABELLOOP_LONGEST_RUN": "900"})
    longest, cool = rule("longest_run", settings, longest_run=7200.0), rule("cool_down", settings, cool_down=5.0)
    assert (longest.value, longest.origin) == ("900 s (15 min)", "environment")
    assert longest.limited == "the project asks for 7200 s (2 h), the operator allows at most this"
    assert cool.limited == "the project asks for 5 s, the operator allows at least this"
    endless = rule("epochs", Settings.from_environ({"LABELLOOP_EPOCHS": "50"}), epochs=0)
    assert endless.limited.startswith("the project asks for chosen by the number of images")


def test_from_which_confidence_a_label_is_shown_and_who_says_so() -> None:
    (control,) = parse_label_config(TREES_CONFIG)
    served = evolve(manifest(3, NOW), shown={"Tree": Shown(confidence=0.31, iou=0.6)})
    tree, dead, _ = thresholds([(control, served)], Settings(), None)
    assert (tree.confidence, tree.confidence_from, tree.iou, tree.iou_from) == (0.31, "v3", 0.6, "v3")
    assert (dead.confidence, dead.confidence_from, dead.iou_from) == (0.25, "default", "default")
    settings = Settings.from_environ({"LABELLOOP_IOU": "0.5"})
    tree, *_ = thresholds([(control, served)], settings, Project(label_config="", overrides={"confidence": 0.4}))
    assert (tree.confidence, tree.confidence_from, tree.iou, tree.iou_from) == (0.4, "project", 0.5, "LABELLOOP_IOU")
    (written,) = parse_label_config(TREES_CONFIG.replace('name="label"', 'name="label" model_score_threshold="0.7"'))
    tree, *_ = thresholds([(written, served)], settings, None)
    assert (tree.confidence, tree.confidence_from) == (0.7, "labeling config")
    (kinds,) = parse_label_config(TREES_CONFIG.replace("RectangleLabels", "Choices").replace("<Label", "<Choice"))
    tree, *_ = thresholds([(kinds, None)], Settings(), None)
    assert (tree.iou, tree.iou_from) == (None, "")


def test_how_the_version_was_trained() -> None:
    (control,) = parse_label_config(TREES_CONFIG)
    made = manifest(3, NOW)
    told = evolve(made, lineage={"epochs": 25, "batch": 4, "images": {"train": 8, "val": 2}})
    assert presets([(control, told)]) == ("label: v3 was trained for 25 epochs in steps of 4 images, on 8 images",)
    for lineage in ({}, {"epochs": "25", "batch": 4, "images": {"train": 8}}, {"epochs": 25, "batch": 4, "images": 8}):
        assert presets([(control, evolve(made, lineage=lineage)), (control, None)]) == ()


def test_the_gate_is_told_as_it_is() -> None:
    assert f"more than {MAX_WORSE:.0%}" in GATE
    assert COLLAPSE == 0.5
    assert "less than half as good" in GATE
