"""How many CPU cores a process may use."""

import os
from pathlib import Path

import pytest

from jobs.train.yolo.machine import prepare_ultralytics
from shared.cores import usable_cores


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None), ("900000000 100000", None)],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, limit: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path) == (cores or usable_cores(tmp_path / "nowhere"))


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("-1", None)])
def test_older_control_groups(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == (cores or usable_cores(tmp_path / "nowhere"))


def test_a_training_takes_as_many_threads(tmp_path: Path) -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    assert prepare_ultralytics(tmp_path, threads=0)["OMP_NUM_THREADS"] == str(usable_cores())
