"""The simulator of bench/scale on a small, unlucky installation: what must never happen does not; figures repeat."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
UNLUCKY = {
    "projects": 60,
    "events": 20,
    "seconds": 240,
    "gpus": 8,
    "instances": 2,
    "tasks": 300,
    "cool-down": 30,
    "run-median": 60,
    "start-median": 10,
    "lost-events": 0.05,
    "spot-losses": 20,
    "kills": 10,
    "zombies": 15,
    "doubled-launches": 0.2,
    "refused-launches": 0.1,
    "instance-kills": 120,
}


def simulate(report: Path) -> dict[str, Any]:
    """In a process of its own: the simulator hands tenacity another clock."""
    options = [word for name, value in UNLUCKY.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "bench.scale", *options, "--json", str(report)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    found.pop("this machine")
    return found


def test_of_what_is_launched_twice_killed_forgotten_and_lost_nothing_runs_twice_and_nothing_is_missing(
    tmp_path: Path,
) -> None:
    found = simulate(tmp_path / "first.json")
    assert set(found["must be zero"].values()) == {0}
    runs = found["runs"]
    for misfortune in (
        "second copies that ended at once", "attempts killed", "attempts pre-empted", "launches refused",
        "machines forgotten by the launcher",
    ):  # fmt: skip
        assert runs[misfortune] > 0, misfortune
    assert found["simulation"]["instances killed"] > 0
    ended = sum(count for name, count in runs.items() if name.startswith("ended "))
    assert runs["started"] == ended > 30
    assert runs["started without need"] == 0
    assert runs["due to launched without events, longest"] < 300  # seconds of the simulation: a few sweeps
    assert found["webhook"]["answered after 1 s"] == 0
    assert found == simulate(tmp_path / "second.json")
