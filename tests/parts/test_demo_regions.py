"""What an expert sees survives the way into an annotation of Label Studio and back, whatever the control."""

import numpy as np
import pytest

from infra.demo.controls import DEMOS, airships
from infra.demo.metrics import Compared, measure
from infra.demo.regions import annotated, predicted
from infra.demo.samples import CACHE

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
