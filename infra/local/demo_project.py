"""The demo's project in Label Studio, used as a person would: import pictures, annotate, retrieve predictions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from infra.local.label_studio import LabelStudioServer
from infra.local.samples import Tile
from shared.errors import LabelStudioError
from shared.geometry import xyxy_to_percent
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.requests import ProjectCounters

CONTROL = "label"
LABEL_CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="{CONTROL}" toName="image">
    <Label value="Tree" background="#3ddc84"/>
  </RectangleLabels>
</View>"""
_TIMEOUT = 120.0  # seconds; Label Studio itself gives a backend 100 s to predict


@dataclass(frozen=True, slots=True)
class Predicted:
    """What Label Studio holds as one model version's prediction of a task."""

    xyxy: np.ndarray[Any, np.dtype[np.float64]]  # (N, 4) pixel corners
    scores: np.ndarray[Any, np.dtype[np.float64]]  # (N,)


class DemoProject:
    """One project; every call goes through Label Studio's API with the annotator's own token."""

    def __init__(self, server: LabelStudioServer) -> None:
        self._server = server
        self._session = server.session()
        project = self._call("POST", "/api/projects/", {"title": "Trees from the air", "label_config": LABEL_CONFIG})
        self.id = int(project["id"])
        self.uid = str(ProjectCounters.model_validate(project).uid)

    @property
    def address(self) -> str:
        """Its page."""
        return f"{self._server.url}/projects/{self.id}/data"

    def import_tiles(self, tiles: Iterable[Tile]) -> dict[str, int]:
        """Upload pictures, one task each, and answer the task id by the tile's name."""
        files = {tile.name: (f"tile-{tile.name}.jpg", tile.data, "image/jpeg") for tile in tiles}  # one field each
        self._call("POST", f"/api/projects/{self.id}/import", files=files)
        listed = self._call("GET", f"/api/tasks?project={self.id}&page_size={len(files)}&fields=all")["tasks"]
        return {_tile_name(task["data"]["image"]): int(task["id"]) for task in listed}

    def annotate(self, task_id: int, tile: Tile) -> None:
        """Submit the expert's boxes of one task, as the Submit button does."""
        result = [
            {
                "id": f"tree-{number}",
                "from_name": CONTROL,
                "to_name": "image",
                "type": "rectanglelabels",
                "original_width": tile.width,
                "original_height": tile.height,
                "image_rotation": 0,
                "value": {
                    "x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["Tree"],
                },
            }
            for number, (x, y, width, height) in enumerate(
                xyxy_to_percent(tile.boxes, tile.width, tile.height).tolist()
            )
        ]  # fmt: skip
        self._call("POST", f"/api/tasks/{task_id}/annotations/", {"result": result})

    def retrieve_predictions(self, task_ids: Iterable[int]) -> None:
        """What "Retrieve predictions" in the data manager's menu does for selected tasks."""
        selected = {"selectedItems": {"all": False, "included": list(task_ids)}}
        self._call("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={self.id}", selected)

    def prediction(self, task_id: int, tile: Tile, model_version: str) -> Predicted | None:
        """The prediction of that version that Label Studio holds for a task; None if there is none."""
        held = self._call("GET", f"/api/tasks/{task_id}")["predictions"]
        results = [found["result"] for found in held if found["model_version"] == model_version]
        if not results:
            return None
        (control,) = parse_label_config(LABEL_CONFIG)
        regions = [_labelled(region) for region in results[-1]]
        boxes = [CONTROLS[control.tag].read([region], control, tile.width, tile.height).xyxy for region in regions]
        kept = [(box[0], float(region["score"])) for box, region in zip(boxes, regions, strict=True) if len(box)]
        return Predicted(
            np.array([box for box, _ in kept], dtype=np.float64).reshape(-1, 4),
            np.array([score for _, score in kept], dtype=np.float64),
        )

    def model_version(self) -> str:
        """What the backend answers to Label Studio now."""
        (backend,) = self._call("GET", f"/api/ml?project={self.id}")
        return str(backend["model_version"])

    def _call(self, method: str, path: str, body: Any = None, files: Any = None) -> Any:
        answer = self._session.request(method, f"{self._server.url}{path}", json=body, files=files, timeout=_TIMEOUT)
        if not answer.ok:
            raise LabelStudioError(
                f"Label Studio answered {method} {path} with {answer.status_code} {answer.text[:300]}"
            )
        return answer.json()


def _tile_name(image: str) -> str:
    """`/data/upload/1/0a1b2c3d-tile-2-3.jpg` → `2-3`: Label Studio puts eight digits before the name."""
    found = re.search(r"tile-(\d+-\d+)\.jpg$", image)
    assert found is not None, image
    return found[1]


def _labelled(region: dict[str, Any]) -> dict[str, Any]:
    """Boxes without a label (a base model's proposals) count like the others here: the project has one label only."""
    return {**region, "value": {**region["value"], "rectanglelabels": ["Tree"]}}
