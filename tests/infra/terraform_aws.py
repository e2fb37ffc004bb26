"""infra/terraform/aws as it would be: applied by the real terraform on the stub, once a process."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.infra.terraform_provider import Terraform, provider_stub

CONFIGURATION = Path(__file__).parents[2] / "infra" / "terraform" / "aws"


class Applied:
    """What Terraform says that it made, by type and name."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.resources = [one for one in state["values"]["root_module"]["resources"] if one["mode"] == "managed"]

    def all(self, type_: str) -> list[dict[str, Any]]:
        """The values of every resource of a type."""
        return [one["values"] for one in self.resources if one["type"] == type_]

    def one(self, type_: str, name: str) -> dict[str, Any]:
        """The values of one resource."""
        (found,) = [one["values"] for one in self.resources if (one["type"], one["name"]) == (type_, name)]
        return dict(found)


@cache
def aws_applied() -> Applied:
    """With the values of terraform.tfvars.example."""
    with provider_stub() as environ, tempfile.TemporaryDirectory() as folder:
        terraform = Terraform.in_copy(CONFIGURATION, Path(folder) / "module", environ)
        terraform.run("apply", "-auto-approve", "-input=false", "-var-file=terraform.tfvars.example")
        return Applied(json.loads(terraform.run("show", "-json")))
