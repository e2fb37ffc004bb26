"""Which annotation counts, and the digest."""

from typing import Any

import pytest

from jobs.train.data.annotations import AnnotationDigest, choose_annotation, foreign_labels
from shared.labelstudio.config import parse_label_config
from tests.fakes.train_parts import CONFIG, annotation, rectangle

OLD, NEW = "2026-01-01T00:00:00.000000Z", "2026-03-01T10:00:00Z"  # microseconds are left out when they are zero


@pytest.mark.parametrize(
    ("annotations", "chosen"),
    [
        pytest.param([], None, id="none"),
        pytest.param([annotation(1)], 1, id="an empty one is a background image"),
        pytest.param([annotation(1, was_cancelled=True)], None, id="skipped"),
        pytest.param([annotation(1), annotation(2, was_cancelled=True)], 1, id="skipped by one, done by another"),
        pytest.param([annotation(1, updated_at=NEW), annotation(2, updated_at=OLD)], 1, id="newest update wins"),
        pytest.param([annotation(1, updated_at=OLD), annotation(2, updated_at=OLD)], 2, id="then the greater id"),
        pytest.param(
            [annotation(1, ground_truth=True, updated_at=OLD), annotation(2, updated_at=NEW)],
            2,
            id="an imported one, which Label Studio marks as ground truth by itself, and a person's correction",
        ),
        pytest.param(
            [annotation(1, ground_truth=True, was_cancelled=True), annotation(2)], 2, id="skipped ground truth"
        ),
        pytest.param(
            [annotation(1, ground_truth=True, updated_at=NEW), annotation(2, updated_at=OLD)],
            1,
            id="marked as ground truth later, which updates it",
        ),
    ],
)
def test_choose_annotation(annotations: list[dict[str, Any]], chosen: int | None) -> None:
    found = choose_annotation(annotations)
    assert (found["id"] if found else None) == chosen


def digest(*tasks: list[dict[str, Any]]) -> str:
    made = AnnotationDigest()
    for annotations in tasks:
        made.add(annotations)
    return made.hexdigest()


def test_digest_sees_every_change_and_nothing_else() -> None:
    first, second = annotation(1, [rectangle()]), annotation(2)
    same = digest([first, second], [annotation(3)])
    assert digest([second, first], [annotation(3)]) == same, "the order inside of a task is not a change"
    assert digest([first, second], [annotation(3)]) == same
    assert digest([first | {"updated_at": NEW}, second], [annotation(3)]) != same, "an update"
    assert digest([first], [annotation(3)]) != same, "a deletion"
    assert digest([annotation(4, updated_at=first["updated_at"]), second], [annotation(3)]) != same, (
        "deleted, made anew"
    )


def test_foreign_labels_are_counted_for_their_control() -> None:
    [control] = parse_label_config(CONFIG)
    result = [rectangle("Tree"), rectangle("Car"), rectangle("Car", control="other"), {"from_name": "label"}]
    result += [{"from_name": "label", "value": {"rectanglelabels": strange}} for strange in (3, "Car", {"Car": 1})]
    assert foreign_labels(result, control) == 1
    assert foreign_labels([{"from_name": "label", "value": {"rectanglelabels": [["Car"]]}}], control) == 1
