"""What a prelabelling makes of Label Studio's refusals."""

from typing import Any, cast

from jobs.prelabel.target import LabelStudioTarget
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio


class BehindProxy:
    """A Label Studio behind a proxy that takes so many predictions of a request, as nginx takes 1 MB."""

    url = "http://studio"

    def __init__(self, most: int) -> None:
        self._most = most
        self.stored: list[int] = []

    def get_json(self, path: str, params: dict[str, str]) -> Any:
        return {"tasks": []}

    def request_json(self, method: str, path: str, body: Any) -> Any:
        if len(body) > self._most:
            raise LabelStudioError(f"{method} {path} answers 413", status=413)
        self.stored += [one["task"] for one in body]
        return {"created": len(body)}


def test_a_request_that_is_too_long_for_a_proxy_is_halved() -> None:
    studio = BehindProxy(most=3)
    target = LabelStudioTarget(cast(LabelStudio, studio), 7)
    assert target.store([{"task": task, "model_version": "label:v1"} for task in range(1, 11)]) == 10
    assert studio.stored == list(range(1, 11))
