"""A client of MLflow's REST API 2.0, as far as a training needs it: runs, parameters, metrics, tags, artifacts.

https://mlflow.org/docs/latest/rest-api.html. MLflow's own client brings dozens of packages, and repeats a call for
minutes while its server is down. A redirect is not followed, since credentials are sent.
"""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from jobs.train.experiment_tracker import Status, TrackerDown, TrackerRefused
from shared.settings import Settings

_TIMEOUT = (5.0, 20.0)  # seconds to connect, and for an answer
_LONGEST = 500  # characters of a parameter: what older servers take
_AT_ONCE = 100  # parameters of one request
_AGAIN = frozenset({408, 429})
_PROXIED = "mlflow-artifacts"
_KIND = "mlflow.experimentKind"  # else MLflow 3 shows an experiment as one of prompts and agents


class Mlflow:
    """One tracking server. Every method may raise TrackerDown and TrackerRefused. For one thread."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._session = requests.Session()
        token, password = settings.mlflow_token, settings.mlflow_password
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
            self._session.trust_env = False  # else requests prefers a password of ~/.netrc
        elif settings.mlflow_username and password is not None:
            self._session.auth = (settings.mlflow_username, password.get_secret_value())

    def open_run(self, experiment: str, name: str, tags: Mapping[str, str], same: tuple[str, ...]) -> str:
        """The id of the run of an experiment whose tags named in `same` have these values; made if there is none."""
        number = self._experiment(experiment)
        first = same[0]
        found = self._call(
            "POST",
            "runs/search",
            {"experiment_ids": [number], "filter": f"tags.`{first}` = '{tags[first]}'", "max_results": 1000},
        )
        for run in found.get("runs", []):
            held = {tag["key"]: tag["value"] for tag in run.get("data", {}).get("tags", [])}
            if all(held.get(key) == tags[key] for key in same):
                run_id = str(run["info"]["run_id"])
                self._call("POST", "runs/update", {"run_id": run_id, "status": "RUNNING"})
                return run_id
        body = {"experiment_id": number, "run_name": name, "start_time": _now(), "tags": _pairs(tags)}
        return str(self._call("POST", "runs/create", body)["run"]["info"]["run_id"])

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Parameters of a run; one that it has must have the same value."""
        pairs = _pairs({key: str(value)[:_LONGEST] for key, value in params.items()})
        for first in range(0, len(pairs), _AT_ONCE):
            self._call("POST", "runs/log-batch", {"run_id": run_id, "params": pairs[first : first + _AT_ONCE]})

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Metrics of one step. `at`: time.time()."""
        moment = int(at * 1000)
        items = [{"key": key, "value": value, "timestamp": moment, "step": step} for key, value in metrics.items()]
        self._call("POST", "runs/log-batch", {"run_id": run_id, "metrics": items})

    def tag(self, run_id: str, name: str, tags: Mapping[str, str]) -> None:
        """Rename a run and tag it."""
        self._call("POST", "runs/update", {"run_id": run_id, "run_name": name})
        self._call("POST", "runs/log-batch", {"run_id": run_id, "tags": _pairs(tags)})

    def keep(self, run_id: str, name: str, data: bytes) -> None:
        """Keep a file as an artifact of a run. Raises TrackerRefused if the server does not take artifacts itself."""
        place = str(self._call("GET", "runs/get", {"run_id": run_id})["run"]["info"].get("artifact_uri", ""))
        parts = urlsplit(place)
        if parts.scheme != _PROXIED:
            raise TrackerRefused(f"its artifacts are kept at {parts.scheme}:, only it itself is sent any")
        path = quote(f"{parts.path.strip('/')}/{name}")
        self._send("PUT", f"{self._url}/api/2.0/mlflow-artifacts/artifacts/{path}", data=data)

    def end(self, run_id: str, status: Status) -> None:
        """The run is over."""
        self._call("POST", "runs/update", {"run_id": run_id, "status": status, "end_time": _now()})

    def _experiment(self, name: str) -> str:
        try:
            found = self._call("GET", "experiments/get-by-name", {"experiment_name": name})
        except TrackerRefused as refusal:
            if refusal.status != requests.codes.not_found:
                raise
            body = {"name": name, "tags": _pairs({_KIND: "custom_model_development"})}
            return str(self._call("POST", "experiments/create", body)["experiment_id"])
        return str(found["experiment"]["experiment_id"])

    def _call(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        how = {"params": body} if method == "GET" else {"json": body}
        reply = self._send(method, f"{self._url}/api/2.0/mlflow/{path}", **how)
        try:
            answer: dict[str, Any] = reply.json()
        except requests.JSONDecodeError as error:
            raise TrackerRefused("it does not answer as MLflow does") from error
        return answer

    def _send(self, method: str, url: str, **how: Any) -> requests.Response:
        try:
            reply = self._session.request(method, url, timeout=_TIMEOUT, allow_redirects=False, **how)
        except requests.RequestException as error:
            raise TrackerDown(type(error).__name__) from error
        if reply.status_code in _AGAIN or reply.status_code >= requests.codes.server_error:
            raise TrackerDown(f"it answered {reply.status_code}")
        if reply.status_code != requests.codes.ok:
            raise TrackerRefused(f"it answered {reply.status_code}: {reply.text[:200]}", status=reply.status_code)
        return reply


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _now() -> int:
    return int(time.time() * 1000)
