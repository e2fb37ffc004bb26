"""Fixed predictions: one for every control, each of a form that Label Studio takes."""

import json
from typing import Any

import pytest
from label_studio_sdk.label_interface import LabelInterface

from functions.predict.dummy import predict_dummy
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.requests import PredictRequest

LABELS = '<Label value="Tree"/><Label value="Rock"/>'
PAIR = f'<Labels name="kinds" toName="it">{LABELS}</Labels>'


def predict(controls: str, media: str = "Image") -> list[dict[str, Any]]:
    config = f'<View><{media} name="it" value="$it"/>{controls}</View>'
    body = {"project": "1.1", "label_config": config, "tasks": [{"id": 1, "data": {"it": "x"}}]}
    assert parse_label_config(config)
    (prediction,) = predict_dummy(PredictRequest.parse(json.dumps(body).encode()))
    assert isinstance(prediction, dict)
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    result: list[dict[str, Any]] = prediction["result"]
    return result


@pytest.mark.parametrize("tag", ["RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels", "KeyPointLabels"])
def test_shapes(tag: str) -> None:
    items = predict(f'<{tag} name="label" toName="it">{LABELS}</{tag}>')
    assert items[0]["value"][tag.lower()] == ["Tree"]
    pairs = predict(f'<{tag.removesuffix("Labels")} name="shape" toName="it"/>{PAIR}')
    assert [item["from_name"] for item in pairs][:2] == ["shape", "kinds"]
    assert pairs[1]["value"]["labels"] == ["Tree"]
    assert pairs[0]["id"] == pairs[1]["id"]


def test_points_in_a_box() -> None:
    boxes = (
        '<RectangleLabels name="points_bbox" toName="it" model_skip="true"><Label value="Person"/></RectangleLabels>'
    )
    points = f'<KeyPointLabels name="points" toName="it">{LABELS}</KeyPointLabels>'
    box, *rest = predict(boxes + points)
    assert (box["from_name"], box["value"]["rectanglelabels"]) == ("points_bbox", ["Person"])
    assert [(item["value"]["keypointlabels"], item["parentID"]) for item in rest] == [
        (["Tree"], box["id"]),
        (["Rock"], box["id"]),
    ]


def test_choices_of_the_image_and_of_a_region() -> None:
    choices = '<Choices name="what" toName="it"><Choice value="a"/><Choice value="b"/></Choices>'
    (answer,) = predict(choices)
    assert answer["value"] == {"choices": ["a"]}
    box, answer = predict(
        choices.replace("toName", 'perRegion="true" toName') + f"{PAIR}".replace("Labels", "RectangleLabels")
    )
    assert answer["id"] == box["id"]
    assert answer["value"] == {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "choices": ["a"]}


def test_videos() -> None:
    (track,) = predict(f'<VideoRectangle name="box" toName="it"/>{PAIR}', "Video")
    assert track["value"]["labels"] == ["Tree"]
    (span,) = predict(f'<TimelineLabels name="when" toName="it">{LABELS}</TimelineLabels>', "Video")
    assert span["value"]["timelinelabels"] == ["Tree"]


def test_ids_are_those_of_one_answer_and_smart_tools_get_none() -> None:
    body: dict[str, Any] = {
        "project": "1.1",
        "label_config": f'<View><Image name="it" value="$it"/><Polygon name="shape" toName="it"/>{PAIR}</View>',
        "tasks": [{"id": 1, "data": {}}, {"id": 2, "data": {}}],
    }
    answers = [predict_dummy(PredictRequest.model_validate(body)) for _ in range(2)]
    ids = [item["id"] for answer in answers for prediction in answer for item in prediction["result"]]  # type: ignore[call-overload]
    assert ids[::2] == ids[1::2]  # a shape and its label
    assert len(set(ids)) == 4
    smart = body | {"params": {"context": {"result": []}}}
    assert predict_dummy(PredictRequest.model_validate(smart)) == [[], []]
