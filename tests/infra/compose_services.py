"""The services of a compose file as processes of this machine, in a network of their own where their names resolve.

Linux only: a network and mount namespace (unprivileged where the kernel lets users make them), one loopback address a
service. What containers add is not there: images, volumes, limits, health checks.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_RESET = object()
_HOLD = """
import fcntl, socket, struct, subprocess, sys
with socket.socket() as any_socket:  # lo up: SIOCSIFFLAGS with IFF_UP | IFF_RUNNING
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x41))
subprocess.run(["mount", "--bind", sys.argv[1], "/etc/hosts"], check=True)
print("ready", flush=True)
sys.stdin.read()
"""


class _Loader(yaml.SafeLoader):
    """Knows compose's tag `!reset`."""


_Loader.add_constructor("!reset", lambda _loader, _node: _RESET)


def read_compose(*files: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The files merged, `${…}` filled in. KeyError, with the file's own words, if a required variable is missing."""
    merged: dict[str, Any] = {}
    for file in files:
        merged = _merge(merged, yaml.load(file.read_text(), _Loader))
    filled: dict[str, Any] = _fill(merged, variables)
    return filled


def read_env(file: Path) -> dict[str, str]:
    """The variables of an .env file."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def addresses(services: Mapping[str, Any]) -> dict[str, str]:
    """A loopback address for each service."""
    return {name: f"127.0.0.{number}" for number, name in enumerate(services, start=2)}


def names(name: str, service: Mapping[str, Any]) -> list[str]:
    """What a service is called in its networks."""
    networks = service["networks"]
    aliases = (
        [alias for network in networks.values() if network for alias in network.get("aliases", [])]
        if isinstance(networks, dict)
        else []
    )
    return [name, *aliases]


@contextmanager
def network(services: Mapping[str, Any], folder: Path) -> Iterator[list[str]]:
    """A network in which every service's names resolve; answers the command that others are started in it with.

    Raises OSError where this machine does not let us make one.
    """
    hosts = folder / "hosts"
    found = addresses(services)
    lines = [f"{found[name]} {' '.join(names(name, service))}" for name, service in services.items()]
    hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    rootless = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    hold = ["unshare", *rootless, "--mount", "--net", sys.executable, "-c", _HOLD, str(hosts)]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as holder:
        assert holder.stdin
        assert holder.stdout
        try:
            said = holder.stdout.readline()
            if said != b"ready\n":
                raise OSError(f"no network of our own: {said.decode(errors='replace').strip()}")
            enter = ["--user", "--preserve-credentials"] if rootless else []
            yield ["nsenter", "--target", str(holder.pid), *enter, "--mount", "--net", "--"]
        finally:
            holder.stdin.close()


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    merged = {name: _merge(below[name], above[name]) if name in below else above[name] for name in above}
    return {name: value for name, value in (below | merged).items() if value is not _RESET}


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _fill(inner, variables) for name, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, variables) for inner in value]
    return _VARIABLE.sub(lambda match: _value(match, variables), value) if isinstance(value, str) else value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, words = match.groups()
    if variables.get(name):
        return variables[name]
    if kind == "-":
        return str(words)
    raise KeyError(f"{name}: {words}")
