"""The real terraform for tests, with a stand-in for the google and aws providers: no network, no account.

    from tests.infra.terraform_provider import Terraform, provider_stub
    with provider_stub() as environ:
        Terraform.in_copy(configuration, new_folder, environ).run("validate")

tests/infra/terraform_protocol.py says what is checked and what is not. It runs in a small environment of its own below
.cache, made once: `tf`, which has Terraform's plugin protocol, wants an older protobuf than Google's clients do.

To add a resource type: write it into a .tf file below infra/terraform, then `make terraform-schemas`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("tf==1.2.0", "grpcio==1.74.0")

Values = dict[str, Any]


@contextmanager
def provider_stub() -> Iterator[dict[str, str]]:
    """A running stub of both providers; yields the environment to run terraform with. Skips without terraform."""
    if shutil.which("terraform") is None:
        pytest.skip("no terraform on this machine: developer.hashicorp.com/terraform/install, version 1.11 or newer")
    command = [_interpreter(), "-m", "tests.infra.terraform_protocol"]
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
