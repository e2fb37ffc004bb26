"""What an expert sees survives the way into an annotation of Label Studio and back, whatever the control."""

from collections import Counter

import numpy as np
import pytest

from infra.demo.annotator import corrected
from infra.demo.controls import DEMOS, airships
from infra.demo.metrics import Compared, measure
from infra.demo.regions import annotated, predicted
from infra.demo.samples import CACHE
from infra.effort.edits import edits_of
from infra.effort.objects import objects_of
from shared.prediction.region_ids import with_own_ids

IMAGES = ("rectangle", "obb", "polygon", "brush", "ellipse", "keypoint", "choices")


@pytest.mark.parametrize("kind", [*IMAGES, "video", "timeline"])
def test_an_annotation_says_what_the_expert_sees(kind: str) -> None:
    demo = airships(kind, count=3, size=(128, 96), frames=12)
    compared = [
        Compared(f"{sample.name}/{number}", found, expert)
        for sample in demo.samples(CACHE)
        for number, (found, expert) in enumerate(
            zip(predicted(annotated(sample, demo.control), demo.control, sample), sample.expert, strict=True)
        )
    ]
    assert len(compared) == (3 if kind in IMAGES else 36)
    quality = measure(compared, demo.control.yolo_task)
    assert quality["top1" if demo.control.yolo_task == "classify" else "map50_95"] > 0.9


def test_a_prediction_of_nothing_is_nothing_found() -> None:
    demo = airships("polygon", count=1, size=(128, 96))
    (sample,) = demo.samples(CACHE)
    (found,) = predicted([], demo.control, sample)
    assert len(found) == 0
    assert np.allclose((found.width, found.height), (128, 96))


def test_proposals_without_label_count_where_there_is_one_label_only() -> None:
    demo = DEMOS["detect"]
    (sample, *_) = demo.samples(CACHE)
    regions = annotated(sample, demo.control)
    for region in regions:
        region["value"]["rectanglelabels"] = []
    (found,) = predicted(regions, demo.control, sample)
    assert len(found) == len(sample.expert[0]) > 0


@pytest.mark.parametrize("kind", [*IMAGES, "video", "timeline"])
def test_the_annotator_corrects_whatever_was_predicted(kind: str) -> None:
    """What was predicted for one sample is corrected to the next one: some objects are near by chance, most are not."""
    demo = airships(kind, count=6, size=(128, 96), frames=12)
    samples, control = demo.samples(CACHE), demo.control
    compared, edits = list[Compared](), Counter[str]()
    for sample, other in zip(samples, samples[1:] + samples[:1], strict=True):
        true = annotated(sample, control)
        for guess in ([], with_own_ids(true), with_own_ids(annotated(other, control))):
            result = corrected(guess, true, control)
            found = Counter(edit.kind for edit in edits_of(guess, result, control))
            shown, final = len(objects_of(guess, control)), len(objects_of(true, control))
            assert found.total() - found["added"] == shown
            assert found.total() - found["deleted"] == final == len(objects_of(result, control))
            compared += [
                Compared(f"{len(compared)}/{number}", frame, expert)
                for number, (frame, expert) in enumerate(
                    zip(predicted(result, control, sample), sample.expert, strict=True)
                )
            ]
            edits += found
    quality = measure(compared, control.yolo_task)
    assert quality["top1" if control.yolo_task == "classify" else "map50"] > 0.9
    assert edits["added"] >= edits["kept"] > 0
    assert edits["moved"] + edits["relabelled"] + edits["deleted"] > 0


def test_a_box_is_left_from_an_overlap_of_80_percent_on_and_moved_below() -> None:
    control = DEMOS["detect"].control
    (sample, *_) = DEMOS["detect"].samples(CACHE)
    true = annotated(sample, control)[:3]
    guess = with_own_ids(true)
    guess[0]["value"] = guess[0]["value"] | {"width": true[0]["value"]["width"] * 0.85}
    guess[1]["value"] = guess[1]["value"] | {"width": true[1]["value"]["width"] * 0.75}
    guess[2]["value"] = guess[2]["value"] | {"rectanglelabels": []}
    result = corrected(guess, true, control)
    assert [item["id"] for item in result] == [item["id"] for item in guess]
    assert [item["origin"] for item in result] == ["prediction", "prediction-changed", "prediction-changed"]
    assert [edit.kind for edit in edits_of(guess, result, control)] == ["kept", "moved", "relabelled"]
    assert result[0]["value"] == guess[0]["value"]
    assert result[1]["value"] == true[1]["value"]
