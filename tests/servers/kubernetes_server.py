"""A real kube-apiserver, its Job controller and etcd for as long as a `with` block lasts: a cluster without machines.

Version 1.20.2, built once by kubernetes_build.sh and kept in the user's cache. There is no scheduler and no kubelet: a
test plays them by writing a pod's status. Resource quotas, RBAC, garbage collection and tokens are real.
"""

import json
import os
import secrets
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, new_client_from_config
from urllib3.exceptions import HTTPError

from infra.local.processes import Child, choose_port

_START_TIMEOUT = 120.0  # seconds
_CONTROLLERS = ("garbagecollector", "job", "namespace", "resourcequota", "serviceaccount", "serviceaccount-token")
_GATES = "TTLAfterFinished=true"  # off in 1.20: the field would be dropped


@dataclass(frozen=True, slots=True)
class KubernetesServer:
    """A running cluster."""

    url: str
    certificate: Path
    kubeconfig: Path  # of an administrator
    folder: Path

    def client(self) -> ApiClient:
        """As an administrator."""
        return new_client_from_config(str(self.kubeconfig), persist_config=False)

    def kubeconfig_with(self, token: str) -> Path:
        """One for whoever has the token."""
        return _write_kubeconfig(self.folder / f"kubeconfig-{secrets.token_hex(4)}", self.url, self.certificate, token)


def build(say: Callable[[str], None]) -> Path:
    """The archive with the programs, built if the cache has none. Raises subprocess.CalledProcessError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    archive = cache / "labelloop" / "kubernetes-1.20.2.tar.gz"
    if not archive.exists():
        say(f"building kube-apiserver 1.20.2 into {archive}: 5 to 10 minutes, once")
        subprocess.run([str(Path(__file__).with_name("kubernetes_build.sh")), str(archive)], check=True)
    return archive


@contextmanager
def kubernetes_server(archive: Path, folder: Path) -> Iterator[KubernetesServer]:
    """Start a cluster that keeps everything in `folder`, on free ports of the loopback address; end it afterwards."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "bin", filter="data")
    key, tokens, certificates = folder / "accounts.key", folder / "tokens.csv", folder / "certificates"
    key.write_bytes(_private_key())
    token = secrets.token_hex(20)
    tokens.write_text(f'{token},admin,admin,"system:masters"\n')
    etcd_url, peer_url = (f"http://127.0.0.1:{choose_port()}" for _ in range(2))
    port = choose_port()
    server = KubernetesServer(
        f"https://127.0.0.1:{port}", certificates / "apiserver.crt", folder / "kubeconfig", folder
    )
    _write_kubeconfig(server.kubeconfig, server.url, server.certificate, token)
    etcd = {
        "data-dir": folder / "etcd",
        "listen-client-urls": etcd_url,
        "advertise-client-urls": etcd_url,
        "listen-peer-urls": peer_url,
        "initial-advertise-peer-urls": peer_url,
        "initial-cluster": f"default={peer_url}",
    }
    apiserver = {
        "etcd-servers": etcd_url,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": port,
        "cert-dir": certificates,
        "token-auth-file": tokens,
        "authorization-mode": "RBAC",
        "endpoint-reconciler-type": "none",
        "service-cluster-ip-range": "10.0.0.0/24",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-signing-key-file": key,
        "service-account-key-file": key,
        "feature-gates": _GATES,
    }
    controllers = {
        "kubeconfig": server.kubeconfig,
        "controllers": ",".join(_CONTROLLERS),
        "service-account-private-key-file": key,
        "root-ca-file": server.certificate,
        "leader-elect": "false",
        "port": 0,
        "secure-port": 0,
        "feature-gates": _GATES,
    }
    with ExitStack() as running:
        _start(running, folder, "etcd", etcd)
        _start(running, folder, "kube-apiserver", apiserver)
        _wait_until_ready(server)
        _start(running, folder, "kube-controller-manager", controllers)
        yield server


def _start(running: ExitStack, folder: Path, name: str, options: dict[str, Any]) -> None:
    command = [str(folder / "bin" / name), *(f"--{option}={value}" for option, value in options.items())]
    environ = {"PATH": os.defpath, "HOME": str(folder), "GOMAXPROCS": "2"}
    child = Child(name, command, folder / f"{name}.log", environ=environ, cwd=folder)
    running.callback(child.stop)


def _wait_until_ready(server: KubernetesServer) -> None:
    end = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            with server.client() as client:
                client.call_api(
                    "/readyz", "GET", auth_settings=["BearerToken"], response_types_map={}, _request_timeout=5
                )
        except (ApiException, HTTPError, ConfigException) as error:  # the last: its certificate is not made yet
            if time.monotonic() > end:
                log = (server.folder / "kube-apiserver.log").read_text(errors="replace")
                raise RuntimeError(f"kube-apiserver did not start: {log[-2000:]}") from error
            time.sleep(0.1)
        else:
            return


def _private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write_kubeconfig(path: Path, url: str, certificate: Path, token: str) -> Path:
    """JSON is YAML."""
    cluster = {"name": "test", "cluster": {"server": url, "certificate-authority": str(certificate)}}
    user = {"name": "test", "user": {"token": token}}
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    config = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "test"}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
    path.chmod(0o600)
    return path
