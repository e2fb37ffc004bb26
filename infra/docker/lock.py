"""`python -m infra.docker.lock` (`make locks`): writes the lock files (pins with hashes) of the images.

All images are resolved together, so that a package has the same version in each, and for the images' platform, not this
machine's. PyTorch and its CUDA libraries have a file of their own, because the CPU images install another build.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).with_name("locks")
COMMAND = "make locks"
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "light": ("gcs", "kubernetes", "cloud-run", "aws-lambda", "otel"),
    "predict": ("predict", "gcs", "aws-lambda", "otel"),
    "predict-cuda": ("predict-cuda", "video", "gcs", "aws-lambda", "otel"),
    "train": ("train", "cli", "gcs", "predict-cuda", "otel"),
}
"""Image → extras of pyproject.toml that are installed in it."""

TORCH = re.compile(r"(torch|torchvision|triton|nvidia-(?!ml-py)[\w-]+|cuda-[\w-]+)")
"""Packages of torch.txt, the part of `train` that the CPU image has in another build: PyTorch, and CUDA's libraries."""


def main() -> None:
    """Write all lock files. Pins that still fit are kept; `--upgrade` takes the newest versions."""
    with tempfile.TemporaryDirectory() as scratch:
        everything = Path(scratch) / "everything.txt"
        if "--upgrade" not in sys.argv[1:]:
            everything.write_text("".join(path.read_text() for path in sorted(FOLDER.glob("*.txt"))))
        _compile(everything, {extra for extras in EXTRAS.values() for extra in extras})
        for image, extras in EXTRAS.items():
            lock = Path(scratch) / f"{image}.txt"
            _compile(lock, set(extras), "--constraints", str(everything))
            pins = dict(blocks(lock.read_text()))
            torch = {name: pin for name, pin in pins.items() if image == "train" and TORCH.fullmatch(name)}
            _write(image, {name: pin for name, pin in pins.items() if name not in torch})
            if torch:
                _write("torch", torch)
    _write_build_lock()


def blocks(lock: str) -> Iterator[tuple[str, str]]:
    """(package, text with hashes) of each pin in a lock file."""
    for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        yield block.partition("==")[0], block


def _compile(lock: Path, extras: set[str], *more: str) -> None:
    sees = bool(extras & {"predict", "predict-cuda", "train"})
    _uv(
        [REPOSITORY / "pyproject.toml", *([FOLDER / "opencv.in"] if sees else [])],
        lock,
        *(option for extra in sorted(extras) for option in ("--extra", extra)),
        *("--constraints", str(FOLDER / "constraints.in"), "--overrides", str(FOLDER / "overrides.in")),
        *more,
    )


def _write_build_lock() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch) / "build.txt"
        _uv([FOLDER / "build.in"], lock)
        _write("build", dict(blocks(lock.read_text())))


def _uv(sources: Sequence[Path], lock: Path, *options: str) -> None:
    subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"),
            *(
                "--generate-hashes",
                "--no-header",
                "--no-annotate",
                "--python-version",
                "3.11",
                "--python-platform",
                "x86_64-manylinux_2_28",
            ),
            *("--only-binary", ":all:", "--output-file", str(lock), *options, *map(str, sources)),
        ],
        check=True,
        cwd=REPOSITORY,
    )


def _write(name: str, pins: Mapping[str, str]) -> None:
    text = "".join(pins[package] for package in sorted(pins))
    (FOLDER / f"{name}.txt").write_text(f"# Made by `{COMMAND}` from pyproject.toml: do not edit.\n{text}")


if __name__ == "__main__":
    main()
