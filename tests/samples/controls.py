"""A control of every YOLO task, as a labeling config declares it."""

from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control

_TAGS = {
    "detect": '<RectangleLabels name="label" toName="image"{}>',
    "obb": '<RectangleLabels name="label" toName="image" model_obb="true"{}>',
    "segment": '<PolygonLabels name="label" toName="image"{}>',
    "pose": '<KeyPointLabels name="label" toName="image"{}>',
    "classify": '<Choices name="label" toName="image"{}>',
}


def control_for(yolo_task: str, model_path: str = "") -> Control:
    """The only one of its config."""
    attribute = f' model_path="{model_path}"' if model_path else ""
    opening = _TAGS[yolo_task].format(attribute)
    label = "Choice" if yolo_task == "classify" else "Label"
    closing = opening[1:].split()[0]
    (found,) = parse_label_config(
        f'<View><Image name="image" value="$image"/>{opening}<{label} value="Tree"/></{closing}></View>'
    )
    assert found.yolo_task == yolo_task
    return found
