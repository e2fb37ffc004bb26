"""The project in Label Studio, worked on as annotators do; they reach Label Studio whatever the programs meet."""

import random
from typing import Any

from infra.demo.samples import Tile
from infra.local.label_studio import LabelStudioServer
from jobs.train.data.annotations import AnnotationDigest
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import ProjectCounters

LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)
_PAGE = 500
_TIMEOUT = 150.0  # seconds; Label Studio itself gives a backend 100 s to predict


class Project:
    """One project, with one task for each picture."""

    def __init__(self, server: LabelStudioServer, images: str, tiles: list[Tile]) -> None:
        """`images`: address of the pictures, `<images>/N.jpg`."""
        self.call = LabelStudio(server.url, server.token, timeout=_TIMEOUT).request_json
        self._tiles = tiles
        made = self.call("POST", "/api/projects/", {"title": "faults", "label_config": LABEL_CONFIG})
        self.id = int(made["id"])
        self.uid = str(ProjectCounters.model_validate(made).uid)
        tasks = [{"image": f"{images}/{number}.jpg"} for number in range(len(tiles))]
        self.call("POST", f"/api/projects/{self.id}/import", tasks)
        self.tasks = {int(task["id"]): task["data"] for task in self._all()}

    def change(self, rng: random.Random, count: int) -> None:
        """Annotate, correct, or delete and annotate anew, so many times."""
        annotated = {int(task["id"]): task["annotations"] for task in self._all()}
        for task in rng.sample(sorted(self.tasks), count):
            held = annotated[task]
            if held and rng.random() < 0.5:
                self.call("PATCH", f"/api/annotations/{held[0]['id']}/", {"result": self._drawn(task, rng)})
                continue
            if held:
                self.call("DELETE", f"/api/annotations/{held[0]['id']}/")
            self.call("POST", f"/api/tasks/{task}/annotations/", {"result": self._drawn(task, rng)})

    def digest(self) -> str:
        """Of all annotations that are there now, as a run computes it of those that it reads."""
        digest = AnnotationDigest()
        for task in sorted(self._all(), key=lambda task: int(task["id"])):
            if task["annotations"]:
                digest.add(task["annotations"])
        return digest.hexdigest()

    def retrieve_predictions(self) -> None:
        """What "Retrieve predictions" does for all tasks."""
        selected = {"selectedItems": {"all": True, "excluded": []}}
        self.call("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={self.id}", selected)

    def predictions(self) -> list[tuple[int, str]]:
        """Task and model version of every prediction that Label Studio holds."""
        return [(int(task["id"]), str(one["model_version"])) for task in self._all() for one in task["predictions"]]

    def model_version(self) -> str:
        """What the backend answered to Label Studio last."""
        (backend,) = self.call("GET", f"/api/ml?project={self.id}")
        return str(backend["model_version"])

    def _all(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.call("GET", f"/api/tasks?project={self.id}&page_size={_PAGE}&fields=all")[
            "tasks"
        ]
        return listed

    def _drawn(self, task: int, rng: random.Random) -> list[dict[str, Any]]:
        """The expert's boxes; now and then one was forgotten."""
        tile = self._tiles[sorted(self.tasks).index(task)]
        regions = [
            {
                "from_name": "label",
                "to_name": "image",
                "type": "rectanglelabels",
                "original_width": tile.width,
                "original_height": tile.height,
                "value": {
                    "x": left / tile.width * 100,
                    "y": top / tile.height * 100,
                    "width": (right - left) / tile.width * 100,
                    "height": (bottom - top) / tile.height * 100,
                    "rotation": 0,
                    "rectanglelabels": ["Tree"],
                },
            }
            for left, top, right, bottom in tile.boxes.tolist()
        ]
        return regions[1:] if rng.random() < 0.3 and len(regions) > 1 else regions
