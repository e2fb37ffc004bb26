"""The demo's project in Label Studio: import samples, annotate, retrieve predictions, as a person does."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from infra.demo.annotator import corrected
from infra.demo.controls import CONTROL, Demo
from infra.demo.regions import annotated, predicted
from infra.demo.samples import Sample
from infra.effort.counts import ControlCounts, Weights
from infra.effort.edits import Edit, edits_of
from infra.local.label_studio import LabelStudioServer
from infra.local.processes import StartError
from jobs.train.yolo.validation import MIN_CONFIDENCE
from shared.geometry.detections import Detections
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import ProjectCounters
from shared.settings import Settings
from shared.web.peer import call

_MARGIN = 5.0  # seconds that predict's answer may take beyond its own deadline
_TIMEOUT = 120.0  # seconds; Label Studio itself gives a backend 100 s to predict
_LOOK, _DRAW = 3.0, 5.0  # seconds that the annotator would take to look at a task, and to draw one object


@dataclass(frozen=True, slots=True)
class Predicted:
    """The prediction of one model version for a task, as Label Studio stores it."""

    regions: int  # of Label Studio
    frames: tuple[Detections, ...]  # of an image one


class DemoProject:
    """One project, used through Label Studio's API with the annotator's token. All methods raise LabelStudioError."""

    def __init__(self, server: LabelStudioServer, demo: Demo) -> None:
        self.demo = demo
        self._control = demo.control
        self._server = server
        self._call = LabelStudio(server.url, server.token, timeout=_TIMEOUT).request_json
        project = self._call("POST", "/api/projects/", {"title": demo.title, "label_config": demo.label_config})
        self.id = int(project["id"])
        self.uid = str(ProjectCounters.model_validate(project).uid)
        self._data: dict[int, Any] = {}  # of each task

    @property
    def address(self) -> str:
        """The address of its page."""
        return f"{self._server.url}/projects/{self.id}/data"

    def import_samples(self, samples: Iterable[Sample]) -> dict[int, Sample]:
        """Make a task of each sample; answers id of the task → sample.

        They are local files of Label Studio, not uploads: an upload gets another address each time, and images are
        divided into train and val by their addresses, so no play could be repeated.
        """
        files = self._server.local_files / _slug(self.demo.title)
        files.mkdir(exist_ok=True)
        by_address = dict[str, Sample]()
        for sample in samples:
            file = files / f"{sample.name}{sample.suffix}"
            file.write_bytes(sample.data)
            by_address[f"/data/local-files/?d={files.name}/{file.name}"] = sample
        storage = {"project": self.id, "path": str(files), "use_blob_urls": True}  # without, it serves none of them
        self._call("POST", "/api/storages/localfiles/", storage)
        key = self._control.value.removeprefix("$")
        self._call("POST", f"/api/projects/{self.id}/import", [{key: address} for address in by_address])
        listed = self._call("GET", f"/api/tasks?project={self.id}&page_size={len(by_address)}&fields=all")["tasks"]
        self._data = {int(one["id"]): one["data"] for one in listed}
        return {task: by_address[data[key]] for task, data in self._data.items()}

    def annotate(self, task_id: int, sample: Sample, version: str = "") -> list[Edit]:
        """Correct the prediction of a version, as a person does in Label Studio's page, and submit; answers the edits.

        Without one, everything is drawn. What is sent is what the page sends (docs/effort.md).
        """
        held = self.predictions(task_id, version) if version else []
        shown = held[-1]["result"] if held else []
        result = corrected(shown, annotated(sample, self._control), self._control)
        edits = edits_of(shown, result, self._control)
        counts = ControlCounts()
        counts.add(edits)
        annotation = {
            "result": result,
            "lead_time": round(_LOOK + _DRAW * Weights().of(counts.total), 3),
            "parent_prediction": held[-1]["id"] if held else None,
            "parent_annotation": None,
            "draft_id": 0,
            "project": self.id,
        }
        self._call("POST", f"/api/tasks/{task_id}/annotations/?project={self.id}", annotation)
        return edits

    def retrieve_predictions(self, task_ids: Iterable[int]) -> None:
        """Do what "Retrieve predictions" in the data manager's menu does, for these tasks."""
        selected = {"selectedItems": {"all": False, "included": list(task_ids)}}
        self._call("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={self.id}", selected)

    def prediction(self, task_id: int, sample: Sample, model_version: str) -> Predicted | None:
        """The newest prediction of a version that Label Studio stores for a task; None if there is none."""
        held = self.predictions(task_id, model_version)
        if not held:
            return None
        return Predicted(len(held[-1]["result"]), predicted(held[-1]["result"], self._control, sample))

    def everything(self, samples: Mapping[int, Sample], settings: Settings) -> list[Predicted | None]:
        """All that the served version finds in the images of some tasks, however unsure it is of it. Nothing is stored.

        It is asked of predict itself, with another least confidence in the labeling config. None for a task that is not
        answered. Raises StartError.
        """
        least = f'name="{CONTROL}" model_score_threshold="{MIN_CONFIDENCE}"'
        body = {
            "tasks": [{"id": task, "data": self._data[task], "is_labeled": True} for task in samples],
            "project": self.uid,
            "label_config": self.demo.label_config.replace(f'name="{CONTROL}"', least),
            "params": {},
        }
        timeout = settings.predict_deadline + _MARGIN
        try:
            reply = call("POST", f"{settings.predict_url}/predict", settings, "basic", timeout=timeout, body=body)
        except requests.RequestException as error:
            raise StartError(f"predict does not answer ({type(error).__name__})") from error
        if not reply.ok:
            raise StartError(f"predict answered {reply.status_code}: {reply.text[:300]}")
        return [
            Predicted(len(item["result"]), predicted(item["result"], self._control, sample)) if item else None
            for item, sample in zip(reply.json()["results"], samples.values(), strict=True)
        ]

    def shown(self) -> str:
        """The version whose stored predictions annotators are shown; the backend's title if it is asked while they
        label.
        """
        return str(self._call("GET", f"/api/projects/{self.id}/")["model_version"] or "")

    def model_version(self) -> str:
        """The version that Label Studio shows for the backend."""
        (backend,) = self._call("GET", f"/api/ml?project={self.id}")
        return str(backend["model_version"])

    def predictions(self, task_id: int, model_version: str) -> list[dict[str, Any]]:
        """Those of one version for a task, oldest first. Listed, not with it: opening a task may ask the backend."""
        held = self._call("GET", f"/api/predictions/?task={task_id}")
        return sorted((one for one in held if one["model_version"] == model_version), key=lambda one: int(one["id"]))


def _slug(title: str) -> str:
    """`Trees from the air: obb` → `trees-from-the-air-obb`."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))
