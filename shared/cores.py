"""CPU cores that this process may use: by its affinity, and by its container's quota (cgroup v2, else v1)."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Number of cores, at least 1. The quota is rounded: 1.5 counts as 2."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = _quota(cgroup)
    return min(cores, max(round(quota / period + 1e-9), 1)) if quota > 0 < period else cores


def _quota(cgroup: Path) -> tuple[int, int]:
    """(quota, period): microseconds of CPU time per period in microseconds; (0, 0) without a limit."""
    try:
        if (limit := cgroup / "cpu.max").is_file():
            words = limit.read_text().split()[:2]
        else:
            words = [(cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
        quota, period = (int(word) for word in words)
    except (OSError, ValueError):  # no such file, or "max"
        return 0, 0
    return quota, period
