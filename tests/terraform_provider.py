"""A stand-in for the google and aws providers: the real terraform runs init, validate, plan and test without a network.

It serves the schemas of tests/terraform/*.json over Terraform's plugin protocol and answers every plan and apply
without calling anybody. Terraform itself then refuses unknown resources and arguments, missing ones and wrong types.

    from tests.terraform_provider import Terraform, provider_stub
    with provider_stub() as environ:
        Terraform.in_copy(configuration, new_folder, environ).run("validate")

It runs in a small environment of its own below .cache, made once: `tf`, which has the protocol, wants an older protobuf
than Google's clients do. By hand: `.cache/terraform/venv/bin/python -m tests.terraform_provider` prints the variables
to export, and serves until its input ends.

To add a resource type: write it into a .tf file below infra/terraform, then `make terraform-schemas`.

What only the provider knows is not checked: allowed values, arguments that exclude one another, quotas. Attributes that
the provider computes are unknown in a plan; after an apply (and in data sources, also in a plan) they are `ANSWERS` by
the attribute's name, else `<type>.<attribute>`. An optional argument that is left out is null, but `id`. A
`.tftest.hcl` file may say more exactly what it needs with `override_data` and `override_resource`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("tf==1.2.0", "grpcio==1.74.0")
SCHEMAS = Path(__file__).parent / "terraform"
PROVIDERS = ("google", "aws")
ANSWERS: Mapping[str, object] = {
    "account_id": "123456789012",
    "dns_suffix": "amazonaws.com",
    "function_url": "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws/",
    "json": "{}",
    "number": "123456789012",
    "partition": "aws",
    "region": "eu-central-1",
    "ids": ["one", "two"],
}

Schema = dict[str, Any]
Values = dict[str, Any]


@contextmanager
def provider_stub() -> Iterator[dict[str, str]]:
    """A running stub of both providers; yields the environment to run terraform with."""
    command = [_interpreter(), "-m", "tests.terraform_provider"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin
        assert process.stdout
        try:
            reattach = process.stdout.readline().strip().removeprefix("export ").partition("=")[2].strip("'")
            assert reattach, "the provider stub did not start"
            empty = Path(folder) / "terraform.rc"
            empty.touch()
            yield {
                "PATH": os.environ["PATH"],
                "HOME": folder,
                "TF_REATTACH_PROVIDERS": reattach,
                "TF_CLI_CONFIG_FILE": str(empty),
                "CHECKPOINT_DISABLE": "1",
                "TF_IN_AUTOMATION": "1",
            }
        finally:
            process.stdin.close()  # ends it


def _interpreter() -> str:
    """The Python that has the protocol."""
    folder = REPOSITORY / ".cache" / "terraform" / "venv"
    python, made = str(folder / "bin" / "python"), folder / f"made-{sys.version_info.minor}"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        quiet = ("--quiet", "--disable-pip-version-check", "--only-binary", ":all:")
        subprocess.run([python, "-m", "pip", "install", *quiet, *PACKAGES], check=True)
        made.touch()
    return python


class Terraform:
    """The real terraform in one folder: use a copy, it writes beside the configuration."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self._environ = environ

    @classmethod
    def in_copy(cls, configuration: Path, folder: Path, environ: dict[str, str]) -> "Terraform":
        """A copy of `configuration` in the new `folder`, initialised."""
        shutil.copytree(configuration, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        terraform = cls(folder, environ)
        terraform.run("init", "-input=false")
        return terraform

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command; its standard error follows its standard output."""
        return subprocess.run(
            ["terraform", *arguments, *([] if "-json" in arguments else ["-no-color"])],
            cwd=self.folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """Run one command that must succeed; answers what it wrote."""
        ended = self.call(*arguments)
        assert ended.returncode == 0, f"terraform {' '.join(arguments)}:\n{ended.stdout}"
        return ended.stdout

    def plan(self, *arguments: str) -> Values:
        """The plan as Terraform's JSON (`planned_values`, `resource_changes`, …)."""
        self.run("plan", "-input=false", "-out=plan.bin", *arguments)
        plan: Values = json.loads(self.run("show", "-json", "plan.bin"))
        return plan


def attribute_type(attribute: Schema) -> Any:
    """The type of an attribute as the protocol spells it: `nested_type` is a collection of objects."""
    if "type" in attribute:
        return attribute["type"]
    nested = attribute["nested_type"]
    item = ["object", {name: attribute_type(inner) for name, inner in nested["attributes"].items()}]
    return item if nested["nesting_mode"] == "single" else [nested["nesting_mode"], item]


def made_up(type_: Any, owner: str, name: str) -> object:
    """A value for what the provider would compute."""
    if name in ANSWERS:
        return ANSWERS[name]
    scalars: Values = {"string": f"{owner}.{name}", "number": 0, "bool": False, "dynamic": None}
    if isinstance(type_, str):
        return scalars[type_]
    if type_[0] == "object":
        return {key: made_up(inner, owner, key) for key, inner in type_[1].items()}
    return {} if type_[0] == "map" else []


def fill_in(block: Schema, values: Values, make: Callable[[Any, str], object]) -> Values:
    """`values` with `make(type, name)` for every computed attribute of the block that has none."""
    computed = {
        name: one for name, one in block["attributes"].items() if one.get("computed") and values.get(name) is None
    }
    return values | {name: make(attribute_type(one), name) for name, one in computed.items()}


def serve() -> None:
    """Serve both providers until standard input ends; the first line says how to reach them."""
    import grpc

    from tests.terraform_protocol import add_provider

    with tempfile.TemporaryDirectory() as folder:
        servers, reattach = [], {}
        for provider in PROVIDERS:
            server = grpc.server(ThreadPoolExecutor(max_workers=8))
            add_provider(server, json.loads((SCHEMAS / f"{provider}.json").read_text()))
            address = f"{folder}/{provider}.sock"
            server.add_insecure_port(f"unix://{address}")
            server.start()
            servers.append(server)
            reattach[f"registry.terraform.io/hashicorp/{provider}"] = {
                "Protocol": "grpc",
                "ProtocolVersion": 6,
                "Pid": os.getpid(),
                "Test": True,
                "Addr": {"Network": "unix", "String": address},
            }
        print(f"export TF_REATTACH_PROVIDERS='{json.dumps(reattach)}'")
        print("export TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1", flush=True)
        sys.stdin.read()
        for server in servers:
            server.stop(grace=None).wait()


if __name__ == "__main__":
    serve()
