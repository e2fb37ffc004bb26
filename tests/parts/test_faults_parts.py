"""What tests/faults does to processes, and how it counts; `make faults` runs the whole of it."""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disk import disk
from tests.faults.faults import FAULTS
from tests.faults.processes import Supervisor, kill, some_of, starve
from tests.faults.report import Counts, Report
from tests.servers.trigger_process import eventually

_GREEDY = """
import pathlib, sys, time
ready, short, full = map(pathlib.Path, sys.argv[1:])
ready.touch()
while not short.exists():
    time.sleep(0.01)
while not full.exists():
    try:
        bytearray(64 << 20)
    except MemoryError:
        full.touch()
    time.sleep(0.01)
time.sleep(600)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "logs", os.environ)
    yield supervisor
    supervisor.stop()
    assert supervisor.processes() == []


def test_what_is_killed_is_started_again(supervisor: Supervisor) -> None:
    supervisor.run("sleeper", ["sleep", "600"])
    first = supervisor.child("sleeper").pid
    (process,) = eventually(supervisor.processes)
    assert (process.pid, process.group, process.is_job) == (first, first, False)
    kill([process])
    eventually(lambda: supervisor.child("sleeper").pid != first)
    assert supervisor.restarts == 1
    assert supervisor.groups() == {supervisor.child("sleeper").pid}
    kill([process])  # it is gone already


def test_some_are_killed_or_all(supervisor: Supervisor) -> None:
    rng = random.Random(0)
    found = {len(some_of(["a", "b", "c"], rng)) for _ in range(20)}  # type: ignore[list-item]
    assert found == {1, 3}


def test_memory_is_short_and_comes_back(supervisor: Supervisor, tmp_path: Path) -> None:
    ready, short, full = (tmp_path / name for name in ("ready", "short", "full"))
    supervisor.run("greedy", [sys.executable, "-c", _GREEDY, str(ready), str(short), str(full)])
    eventually(ready.exists)
    limits = Path(f"/proc/{supervisor.child('greedy').pid}/limits")
    assert "Max address space         unlimited" in limits.read_text()
    give_back = starve(supervisor.processes(), 8 << 20)
    short.touch()
    eventually(full.exists)
    give_back()
    assert "Max address space         unlimited" in limits.read_text()


def test_a_disk_is_full_and_has_room_again(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as small:
        if not small.own:
            pytest.skip("mounting needs root")
        free = small.fill()
        with pytest.raises(OSError, match="No space"):
            (small.folder / "file").write_bytes(b"x" * 8192)
        free()
        (small.folder / "file").write_bytes(b"x" * 8192)
    assert list((tmp_path / "disk").iterdir()) == []


def test_the_table_counts_all_kinds() -> None:
    report = Report(seed=7, cycles=2)
    report.kinds["b"] = Counts(struck=3, in_training=1, answered=4, empty=2)
    report.kinds["a"] = Counts(struck=2, down=2, broken=1)
    report.kinds["never"] = Counts()
    report.broken.append("something")
    table = report.markdown()
    assert table.startswith("5 faults in 0 minutes and 2 cycles (seed 7)")
    assert "| a | 2 | 0 | 0 | 0 | 2 | 1 |\n| b | 3 | 1 | 4 | 2 | 0 | 0 |\n| all | 5 | 1 | 4 | 2 | 2 | 1 |" in table
    assert "never" not in table
    assert "- broken: something" in table


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
