"""Projects of a real Label Studio that tests of connect make, and what they ask it."""

import io
from typing import Any

import requests
from PIL import Image

from functions.train_trigger.status.findings import Finding
from infra.cli.findings import problems
from infra.local.label_studio import LabelStudioServer
from shared.labelstudio.api import LabelStudio

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="Tree"/>'
    "</RectangleLabels></View>"
)


def quiet(_: str) -> None:
    """Nobody watches the start."""


def make_project(client: LabelStudio) -> int:
    return int(client.request_json("POST", "/api/projects/", {"title": "trees", "label_config": CONFIG})["id"])


def backends(client: LabelStudio, project: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get_json("/api/ml/", {"project": str(project)})
    return found


def webhooks(client: LabelStudio, project: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get_json("/api/webhooks/", {"project": str(project)})
    return found


def of(findings: list[Finding], check: str) -> list[str]:
    """The levels of one check's findings."""
    return [finding.level for finding in findings if finding.check == check]


def changes(findings: list[Finding]) -> list[str]:
    return [finding.message for finding in findings if finding.level == "changed"]


def only_problem(findings: list[Finding]) -> Finding:
    (problem,) = problems(findings)
    return problem


def upload_image(server: LabelStudioServer, project: int) -> None:
    """One task with a real JPEG in Label Studio's own storage."""
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(jpeg, "JPEG")
    answer = server.session().post(
        f"{server.url}/api/projects/{project}/import",
        files={"file": ("tree.jpg", jpeg.getvalue(), "image/jpeg")},
        timeout=60,
    )
    assert answer.status_code == requests.codes.created, answer.text


def box(name: str, x: float, origin: str = "") -> dict[str, Any]:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["Tree"]}
    item = {"id": name, "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
    return item | {"original_width": 100, "original_height": 100} | ({"origin": origin} if origin else {})


def annotate(client: LabelStudio, task: int, result: list[dict[str, Any]], **fields: Any) -> None:
    client.request_json("POST", f"/api/tasks/{task}/annotations/", {"result": result} | fields)
