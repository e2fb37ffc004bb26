"""Prometheus' promtool: the machine's, or Debian's package, unpacked into .cache. Nothing is installed."""

import shutil
import subprocess
import tempfile
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[2] / ".cache"


class NoPromtool(Exception):
    """It cannot be had on this machine, with the reason."""


def promtool() -> Path:
    """Path of the program. Raises NoPromtool."""
    if found := shutil.which("promtool"):
        return Path(found)
    program = _CACHE / "promtool" / "promtool"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
            _run("apt-get", "-q", "download", "prometheus", folder=scratch)
            (package,) = Path(scratch).glob("prometheus_*.deb")
            _run("dpkg-deb", "-x", package.name, "unpacked", folder=scratch)
            (Path(scratch) / "unpacked" / "usr" / "bin" / "promtool").replace(program)
    return program


def _run(*command: str, folder: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPromtool(f"Debian's package prometheus cannot be had: {error}") from error
    if done.returncode:
        raise NoPromtool(f"Debian's package prometheus cannot be had: {done.stderr.strip()[-300:]}")
