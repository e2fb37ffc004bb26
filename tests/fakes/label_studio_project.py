"""A Label Studio in memory with one project, its backends and webhooks, as connecting and disconnecting ask it."""

from collections.abc import Mapping
from typing import Any

from shared.errors import ProjectGone
from shared.labelstudio.api import LabelStudio

UID = "7.1700000000"
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)


class OneProject(LabelStudio):
    """Project 7. It keeps what is sent, and calls nobody."""

    def __init__(self) -> None:
        super().__init__("https://label-studio.example.org", "0" * 40)
        self.project_answer: dict[str, Any] = {
            "id": 7,
            "title": "trees",
            "created_at": "2023-11-14T22:13:20Z",
            "label_config": CONFIG,
            "model_version": "",
            "show_collab_predictions": True,
        }
        self.backends: list[dict[str, Any]] = []
        self.webhooks: list[dict[str, Any]] = []
        self.changes: list[tuple[str, str]] = []  # method and path of each request that is no GET

    def check_identity(self) -> None:
        """It is one."""

    def request_json(self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Any:
        if method != "GET":
            self.changes.append((method, path))
        if path == "/api/current-user/whoami":
            return {"email": "annotator@example.com"}
        if path.startswith("/api/projects/") and path != "/api/projects/7/":
            raise ProjectGone(path)
        if path == "/api/projects/7/":
            self.project_answer |= body or {}
            return dict(self.project_answer)
        if path == "/api/tasks":
            return {"tasks": []}
        listed = self.backends if path.startswith("/api/ml") else self.webhooks
        if method == "DELETE":
            listed[:] = [one for one in listed if str(one["id"]) != path.strip("/").rsplit("/", 1)[1]]
            return None
        assert (method, params) == ("GET", {"project": "7"})
        return list(listed)
