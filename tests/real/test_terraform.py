"""infra/terraform, checked by the real terraform against the schemas of the real providers, without a cloud account."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.terraform_provider import Terraform, provider_stub

CONFIGURATIONS = Path(__file__).parents[2] / "infra" / "terraform"
MODULES = ("google", "aws")
_WITHOUT_RESOURCES = ("outputs.tf", "variables.tf", "versions.tf")
# What a hurried person writes: (pattern of a line, what to make of it, what terraform says)
MISTAKES = {
    "a misspelt argument": (r"^(  )(name +=)", r"\1x_\2", "Unsupported argument"),
    "an unknown resource": (r'^resource "(google|aws)_', r'resource "\1_no_such_', "Invalid resource type"),
    "a wrong type": (r"^(  name +=) .*", r'\1 ["a", "list"]', "Incorrect attribute value type|Inappropriate value"),
    "a missing argument": (r"^  bucket =.*\n", "", "Missing required argument"),
}


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    with provider_stub() as environ:
        yield environ


@pytest.fixture(params=MODULES)
def terraform(request: pytest.FixtureRequest, environ: dict[str, str], tmp_path: Path) -> Terraform:
    return Terraform.in_copy(CONFIGURATIONS / request.param, tmp_path / "module", environ)


def test_formatted_as_terraform_does(terraform: Terraform) -> None:
    assert terraform.run("fmt", "-check", "-diff", "-recursive") == "", "no file would be changed"


def test_valid(terraform: Terraform) -> None:
    assert "The configuration is valid" in terraform.run("validate")


def test_the_example_makes_a_plan(terraform: Terraform) -> None:
    plan = terraform.plan("-var-file=terraform.tfvars.example")
    assert plan["planned_values"]["root_module"]["resources"]


def test_what_the_configuration_says_of_itself(terraform: Terraform) -> None:
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", terraform.run("test"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused(terraform: Terraform, mistake: str) -> None:
    pattern, replacement, complaint = MISTAKES[mistake]
    for path in sorted({*terraform.folder.glob("*.tf")} - {terraform.folder / name for name in _WITHOUT_RESOURCES}):
        broken, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
        if count:
            path.write_text(broken)
            break
    else:
        pytest.fail(f"nothing to make this mistake with: {pattern}")
    ended = terraform.call("validate")
    assert ended.returncode == 1
    assert re.search(complaint, ended.stdout)
