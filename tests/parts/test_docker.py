"""The Dockerfile, what goes into it, and its lock files, read without Docker."""

import ast
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from infra.docker.lock import EXTRAS, FOLDER, TORCH, blocks
from shared.settings import Settings, variable
from tests.infra.dockerfiles import Context, ancestry, environ, stages

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "infra" / "docker" / "Dockerfile"
IMAGES = ("light", "predict", "predict-cuda", "train")
LARGEST_LIGHT = 250_000_000  # bytes
HEAVY = {"numpy", "torch", "torchvision", "ultralytics", "opencv-python", "opencv-python-headless", "label-studio-sdk"}
LOCKED = sysconfig.get_platform() == "linux-x86_64" and sys.version_info[:2] == (3, 11)
START = """
import runpy, flask
import google.cloud.run_v2, google.cloud.storage, kubernetes.client, awslambdaric, apig_wsgi
module = runpy.run_path("functions/train_trigger/main.py")
with flask.Flask("x").test_request_context("/health"):
    print(module["train_trigger"](flask.request).status_code)
"""


def lock(image: str) -> str:
    return (FOLDER / f"{image}.txt").read_text()


def pins(image: str) -> dict[str, Version]:
    """Versions by name of what is installed into an image."""
    files = ["torch", image] if image == "train" else [image]
    found = [re.match(r"([\w.-]+)==(\S+)", block) for file in files for _, block in blocks(lock(file))]
    return {canonicalize_name(match[1]): Version(match[2]) for match in found if match}


def requirements(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """What pyproject.toml asks for, the extras that it names included."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    asked = [project["optional-dependencies"][extra] for extra in extras]
    for requirement in map(Requirement, [*project["dependencies"], *chain(*asked)]):
        if requirement.name == "labelloop":
            yield from requirements(tuple(requirement.extras))
        else:
            yield requirement


@pytest.mark.parametrize("image", IMAGES)
def test_the_lock_holds_what_pyproject_asks_for(image: str) -> None:
    found = pins(image)
    stale = []
    for requirement in requirements(EXTRAS[image]):
        name: str = canonicalize_name(requirement.name)
        name = "opencv-python-headless" if name == "opencv-python" else name
        if name not in found or not requirement.specifier.contains(found[name]):
            stale.append(f"{requirement} (locked: {found.get(name)})")
    assert not stale, f"infra/docker/locks/{image}.txt is older than pyproject.toml: make locks"


@pytest.mark.parametrize("image", [*IMAGES, "torch", "build"])
def test_every_pin_has_a_hash_and_no_machine_is_named(image: str) -> None:
    text = lock(image)
    for _, block in blocks(text):
        assert re.match(r"[\w.-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", block), block[:80]
    assert not re.search(r"https?://|file:|--index|--find-links|/(tmp|home|root|opt)\b", text)


def test_a_package_has_one_version_in_all_images() -> None:
    versions: dict[str, set[Version]] = {}
    for image in IMAGES:
        for name, version in pins(image).items():
            versions.setdefault(name, set()).add(version)
    assert not {name: found for name, found in versions.items() if len(found) > 1}


def test_only_the_torch_lock_holds_torch() -> None:
    assert all(TORCH.fullmatch(name) for name, _ in blocks(lock("torch")))
    assert not [name for name, _ in blocks(lock("train")) if TORCH.fullmatch(name)]


def test_predict_has_no_torch() -> None:
    assert not {"torch", "torchvision", "ultralytics"} & {*pins("predict"), *pins("predict-cuda")}


def test_opencv_does_not_need_a_screen() -> None:
    assert not {"opencv-python", "opencv-contrib-python"} & {*pins("predict"), *pins("train")}


def test_what_is_imported_is_in_the_image() -> None:
    held = set(Context(REPOSITORY).files())
    missing = set()
    for path in held:
        for node in ast.walk(ast.parse((REPOSITORY / path).read_text())) if path.suffix == ".py" else ():
            match node:
                case ast.ImportFrom(module=str(module)):
                    named = [module, *(f"{module}.{alias.name}" for alias in node.names)]
                case ast.Import():
                    named = [alias.name for alias in node.names]
                case _:
                    continue
            files = [name.replace(".", "/") + end for name in named for end in (".py", "/__init__.py")]
            ours = {Path(file) for file in files if (REPOSITORY / file).is_file()}
            missing |= {f"{path} imports {file}" for file in ours - held}
    assert not missing, ".dockerignore keeps them out"


@pytest.mark.skipif(not LOCKED, reason="the lock files are for Python 3.11 on linux x86_64")
def test_the_light_image_is_light_and_whole(tmp_path: Path) -> None:
    """Installed as the image installs it: small, nothing heavy, and train_trigger starts from it."""
    venv = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv", "--quiet", "--no-config"]
    subprocess.run([*uv, "venv", "--python", sys.executable, venv], check=True)
    install = [*uv, "pip", "install", "--python", str(venv), "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*install, "--require-hashes", "-r", FOLDER / "light.txt"], check=True)
    packages = list(distributions(path=[str(next(venv.glob("lib/python*/site-packages")))]))
    names = {canonicalize_name(package.name) for package in packages}
    size = sum(file.size or 0 for package in packages for file in package.files or ())

    assert not names & HEAVY
    assert size < LARGEST_LIGHT
    settings = {
        "LABEL_STUDIO_URL": "http://127.0.0.1:1",
        "LABEL_STUDIO_API_KEY": "0" * 40,
        "LABELLOOP_STORE": (tmp_path / "store").as_uri(),
        "LABELLOOP_AUTH": "off",
        "LABELLOOP_LAUNCHER": "aws-batch://queue/definition",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "PYTHONPATH": str(REPOSITORY),
    }
    answer = subprocess.run(
        [venv / "bin" / "python", "-c", START], cwd=REPOSITORY, env=settings, capture_output=True, text=True
    )
    assert answer.stdout.endswith("200\n"), answer.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_of_the_image_is_writable_and_it_runs_as_nobody_special(image: str) -> None:
    family = ancestry(stages(DOCKERFILE), image)
    last = {instruction.keyword: instruction.text for stage in family for instruction in stage.instructions}
    assert last["USER"] == "10001:10001"
    assert last["WORKDIR"] == "/app"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["CMD"])  # the exec form: signals reach the program
    assert environ(stages(DOCKERFILE), image)["HOME"] == "/tmp"
    installs = [
        line.text for stage in family for line in stage.named("RUN") if "pip" in line.text and "-r " in line.text
    ]
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_all_environment_names_are_settings_or_known() -> None:
    ours = {variable(name) for name in Settings.model_fields}
    for image in IMAGES:
        for name in environ(stages(DOCKERFILE), image):
            assert (
                name in ours
                or name in ("HOME", "PATH", "PORT", "PYTHONUNBUFFERED")
                or name.startswith(("PIP_", "NVIDIA_"))
            )


def test_what_is_copied_exists_and_is_seen() -> None:
    context = Context(REPOSITORY)
    files = context.files()
    for stage in stages(DOCKERFILE).values():
        for copy in stage.named("COPY"):
            for source in copy.text.split()[:-1]:
                if "from" in copy.flags:
                    assert copy.flags["from"] in stages(DOCKERFILE)
                else:
                    assert source == "." or any(path.is_relative_to(source) for path in files), source


@pytest.mark.parametrize(
    "path",
    [
        ".git/config", ".venv/bin/python", ".cache/samples/x.pt", "tests/conftest.py", "labelloop.env", "yolo11n.pt",
        "infra/compose/.env", "infra/compose/settings.env", "infra/terraform/google/terraform.tfstate",
        "shared/__pycache__/settings.cpython-311.pyc", "labelloop-data/store/x",
    ],
)  # fmt: skip
def test_the_build_does_not_see(path: str) -> None:
    assert not Context(REPOSITORY).holds(path)


@pytest.mark.parametrize(
    "path", ["pyproject.toml", "README.md", "LICENSE", "infra/cli/main.py", "infra/compose/__main__.py"]
)
def test_the_build_sees(path: str) -> None:
    assert Context(REPOSITORY).holds(path)
    assert (REPOSITORY / path).exists()


def test_every_package_of_the_programs_is_seen() -> None:
    seen = set(Context(REPOSITORY).files())
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    programs = [
        Path(line) for line in tracked.stdout.splitlines() if line.startswith(("shared/", "functions/", "jobs/"))
    ]
    assert programs
    assert not set(programs) - seen


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
