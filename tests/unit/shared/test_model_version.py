"""Which predictions are labelloop's, by their model_version: no others are removed."""

import pytest

from shared.state.model_version import base_version, is_ours, newest_of, stamp

CONTROLS = ("label", "poly", "a+b")


@pytest.mark.parametrize(
    "versions",
    [
        pytest.param([("label", "v12")], id="one control"),
        pytest.param([("label", "v12"), ("poly", "v3")], id="several"),
        pytest.param([("a+b", "v3"), ("label", "v1")], id="a plus sign in a control's name"),
        pytest.param([("label", base_version("/w/yolo+trees.pt"))], id="a plus sign in the name of base weights"),
        pytest.param([("label", base_version("yolo+trees.pt")), ("a+b", "v3")], id="both"),
    ],
)
def test_what_labelloop_stamps_is_its_own(versions: list[tuple[str, str]]) -> None:
    assert is_ours(stamp(versions), CONTROLS)


@pytest.mark.parametrize("version", ["", "none", "labelloop", "label", "other:v3", "label:v03", "label:v3+", "b:v3"])
def test_what_others_name_is_not(version: str) -> None:
    assert not is_ours(version, CONTROLS)
    assert not is_ours("label:v1+other:v3", CONTROLS)
    assert not is_ours("label:base-yolo11n+other:v3", CONTROLS)
    assert not is_ours(":v3", ())


def test_the_newest_version_of_a_control_that_predictions_name() -> None:
    named = ["label:v2", "poly:v7+label:v12", "my-label:v40", "label:v5x", "label:base-v9", "a+b:v3+label:v4", "none"]
    assert [newest_of(named, control) for control in ("label", "poly", "a+b", "absent")] == [12, 7, 3, 0]
