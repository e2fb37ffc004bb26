"""`labelloop export`: a version's model in another format, with a model card, for use without labelloop.

ultralytics' exporter runs in a process of its own (`infra.cli.ultralytics_export`), which alone imports torch.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.cli.folders import work_folder
from infra.cli.model_card import model_card
from infra.cli.projects import Chosen
from jobs.train.yolo.machine import prepare_ultralytics
from shared.errors import LabelloopError
from shared.state.versions import WEIGHTS, Manifest

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Format:
    """One format that a model can be exported to."""

    argument: str  # ultralytics' name for it; empty: the weights as they are
    packages: Mapping[str, str]  # modules that the export imports → what pip installs for them


FORMATS: Mapping[str, Format] = {
    "onnx": Format("onnx", {"onnx": "onnx"}),
    "openvino": Format("openvino", {"openvino": "openvino"}),
    "tensorrt": Format("engine", {"onnx": "onnx", "tensorrt": "tensorrt"}),
    "coreml": Format("coreml", {"coremltools": "coremltools>=9"}),
    "tflite": Format("litert", {"litert_torch": "litert-torch", "ai_edge_litert": "ai-edge-litert"}),
    "ncnn": Format("ncnn", {"ncnn": "ncnn", "pnnx": "pnnx"}),
    "torchscript": Format("torchscript", {}),
    "pt": Format("", {}),
}
"""By the name that a person gives. Others of ultralytics' need tools of a chip's maker, often with another torch: they
start from `pt`."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    manifest: Manifest
    model: Path  # a file, or a folder
    card: Path

    def as_json(self) -> dict[str, str]:
        """For scripts."""
        weights = self.manifest.file(WEIGHTS)
        return {"model": str(self.model), "card": str(self.card), "weights_sha256": weights.sha256}


def export_version(
    chosen: Chosen, version: int, *, format_name: str, folder: Path, tell: Callable[[str], None]
) -> Exported:
    """Write a version's model and its card to `folder`, which must be empty or not there. `tell` hears of the progress.

    Both are made in a folder within it and moved when they are whole, the card last. Raises NotKnown, StoreError,
    ModelError for weights that are not those of the manifest, LabelloopError for what this machine lacks.
    """
    made_by = _checked_format(format_name)
    manifest = chosen.version(version)
    with work_folder(folder) as work:
        weights = work / f"{re.sub('[^A-Za-z0-9_-]', '_', chosen.control)}-v{version}.pt"
        tell(f"fetching the weights of v{version}")
        chosen.registry.download_file(chosen.control, manifest.file(WEIGHTS), weights)
        model = weights
        if made_by.argument:
            tell(f"exporting v{version} to {format_name} with ultralytics: seconds to minutes")
            model = _exported(weights, format_name, made_by)
        card = work / CARD
        card.write_text(
            model_card(manifest, uid=chosen.uid, format_name=format_name, model=model.name), encoding="utf-8"
        )
        model, card = (path.rename(folder / path.name) for path in (model, card))
    return Exported(manifest, model, card)


def _checked_format(name: str) -> Format:
    """Before anything is fetched. Raises LabelloopError, which names the formats, or what to install."""
    chosen = FORMATS.get(name)
    if chosen is None:
        raise LabelloopError(
            f"--format {name} is not known, there are {', '.join(FORMATS)}; for another one of ultralytics take pt, "
            "and run `yolo export` on it where the tools of that format are installed"
        )
    missing = [package for module, package in chosen.packages.items() if find_spec(module) is None]
    if missing:
        raise LabelloopError(f"--format {name} needs packages that are not installed: {_install(missing)}")
    return chosen


def _exported(weights: Path, format_name: str, chosen: Format) -> Path:
    """What ultralytics makes of the weights, beside them. Raises LabelloopError."""
    with TemporaryDirectory(prefix="labelloop-export-") as config_dir:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "infra.cli.ultralytics_export", weights.name, chosen.argument],
            cwd=weights.parent,  # ultralytics replaces every `.pt` in a path, and we do not choose where we are
            env=os.environ | prepare_ultralytics(Path(config_dir), threads=0),
            check=False,
            capture_output=True,
            text=True,
        )
    if done.returncode == -signal.SIGKILL:
        raise LabelloopError(f"the export to {format_name} was killed, as when memory runs out: it needs a few GB")
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        said = {"error": f"exit code {done.returncode}: {done.stderr.strip()[-500:]}"}
    if package := said.get("missing"):
        raise LabelloopError(f"--format {format_name} needs packages that are not installed: {_install([package])}")
    if error := said.get("error"):
        raise LabelloopError(f"ultralytics could not export {weights.name} to {format_name}: {error}")
    return weights.parent / str(said["made"])


def _install(packages: list[str]) -> str:
    return shlex.join(["pip", "install", *packages])
