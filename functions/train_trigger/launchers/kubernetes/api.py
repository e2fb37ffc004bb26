"""Requests to a Kubernetes API server, by the official client; errors are one sentence that says what to do.

Objects are plain dictionaries: the client's models would drop every field that is newer than the client.
"""

import json
from collections.abc import Mapping
from typing import Any

import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from urllib3.exceptions import HTTPError

from shared.errors import LaunchError, SettingsError

_TIMEOUT = (3.0, 10.0)  # seconds to connect, to answer

_WHAT_TO_DO = {
    0: "check certificate-authority and address of the cluster in the kubeconfig",
    401: "the credentials have expired or are of another cluster: renew those of the kubeconfig",
    403: "a rule of the cluster does not admit it: change the PodTemplate or the rule",
    404: "create it first (docs/deploy/kubernetes.md), or correct LABELLOOP_LAUNCHER",
    422: "correct the PodTemplate",
}


class KubernetesApi:
    """One API server, asked as one user."""

    def __init__(self, configuration: Configuration) -> None:
        configuration.retries = 1
        self._client = ApiClient(configuration)
        self.host: str = configuration.host

    @classmethod
    def connect(cls, environ: Mapping[str, str]) -> "KubernetesApi":
        """As the service account of this program's pod, else by KUBECONFIG or ~/.kube/config. Raises SettingsError."""
        configuration = Configuration()
        try:
            if environ.get("KUBERNETES_SERVICE_HOST"):
                load_incluster_config(client_configuration=configuration)
            else:
                path = environ.get("KUBECONFIG") or "~/.kube/config"
                load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)
        except (ConfigException, OSError, yaml.YAMLError) as error:
            raise SettingsError(
                f"LABELLOOP_LAUNCHER=kubernetes:… finds no cluster ({_in_one_line(error)}): "
                "run in a pod with a service account, or set KUBECONFIG to a kubeconfig file"
            ) from error
        return cls(configuration)

    def get(self, path: str, what: str, **query: str) -> dict[str, Any]:
        """Read an object or a list. `what` names it in errors. Raises KubernetesRefusal."""
        return self._ask("GET", path, f"show {what}", query)

    def create(self, path: str, what: str, body: Mapping[str, Any], **query: str) -> dict[str, Any]:
        """Create an object. Raises KubernetesRefusal."""
        return self._ask("POST", path, f"create {what}", query, body)

    def delete(self, path: str, what: str, body: Mapping[str, Any]) -> None:
        """Delete an object as the DeleteOptions in `body` say. Raises KubernetesRefusal."""
        self._ask("DELETE", path, f"delete {what}", {}, body)

    def _ask(
        self, method: str, path: str, act: str, query: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                response_types_map={200: "object", 201: "object", 202: "object"},
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT,
            )
        except ApiException as error:
            raise KubernetesRefusal(self.host, act, error.status or 0, _message(error)) from error
        except (HTTPError, OSError, ConfigException) as error:
            raise LaunchError(
                f"cannot ask the Kubernetes API server at {self.host} to {act} ({_in_one_line(error)}): "
                "is it running, and may this machine reach it?"
            ) from error
        return found


class KubernetesRefusal(LaunchError):
    """The API server refused a request. `status`: HTTP's, or 0 if TLS failed."""

    def __init__(self, host: str, act: str, status: int, message: str) -> None:
        super().__init__(
            f"the Kubernetes API server at {host} did not {act}: {message} ({status}); {_advice(status, message)}"
        )
        self.status = status


def _advice(status: int, message: str) -> str:
    if "exceeded quota" in message:
        return "wait until other jobs have ended, or raise the ResourceQuota"
    if status == 403 and " cannot " in message:  # RBAC: User "…" cannot create resource "jobs" in API group "batch" …
        return "bind the Role of infra/kubernetes to that user"
    return _WHAT_TO_DO.get(status, "it is tried again; look at the cluster if it stays so")


def _message(error: ApiException) -> str:
    """The message of the Status object in the body; the error's own text has all headers, too."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return _in_one_line(error.reason or "no reason given")


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
