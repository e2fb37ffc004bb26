"""`python -m infra.docker.lock` (`make locks`): the pins with hashes that the images are installed from.

One resolution for all images, so that a package has one version everywhere; then each image's part of it. Resolved for
the images' platform, whatever machine this runs on. PyTorch with its CUDA libraries is a file of its own: the CPU
variants take another build of it.
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
    "light": ("gcs", "kubernetes", "cloud-run", "aws-lambda"),
    "predict": ("predict", "gcs", "aws-lambda"),
    "train": ("train", "cli", "gcs"),
}
"""The extras of pyproject.toml that each image holds."""

TORCH = re.compile(r"(torch|torchvision|triton|nvidia-(?!ml-py)[\w-]+|cuda-[\w-]+)")
"""Names of the packages of torch.txt: PyTorch and what its CUDA build brings."""


def main() -> None:
    """Write all lock files. What is pinned stays as it is where it still fits; `--upgrade` takes the newest."""
    with tempfile.TemporaryDirectory() as scratch:
        everything = Path(scratch) / "everything.txt"
        if "--upgrade" not in sys.argv[1:]:
            everything.write_text("".join(path.read_text() for path in sorted(FOLDER.glob("*.txt"))))
        _compile(everything, {extra for extras in EXTRAS.values() for extra in extras})
        torch: dict[str, str] = {}
        for image, extras in EXTRAS.items():
            lock = Path(scratch) / f"{image}.txt"
            _compile(lock, set(extras), "--constraints", str(everything))
            pins = dict(blocks(lock.read_text()))
            torch |= {name: pin for name, pin in pins.items() if TORCH.fullmatch(name)}
            _write(image, {name: pin for name, pin in pins.items() if name not in torch})
        _write("torch", torch)
    _write_build_lock()


def blocks(lock: str) -> Iterator[tuple[str, str]]:
    """Name and text of each pin of a lock file, hashes and annotation included."""
    for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        yield block.partition("==")[0], block


def _compile(lock: Path, extras: set[str], *more: str) -> None:
    sees = bool(extras & {"predict", "train"})
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
