"""Versions of a model as a run publishes them, without files."""

from datetime import UTC, datetime

from shared.evolve import evolve
from shared.state.registry import Registry
from shared.state.versions import WEIGHTS, FileEntry, Gate, Manifest

UID = "7.1700000000"
PASSED = Gate(metric="mAP50-95", challenger=0.5, champion=None, champion_version=None, passed=True, reason="first")
LOST = evolve(PASSED, passed=False, reason="the champion is better")


def manifest(number: int, run_id: str = "run", control: str = "label", gate: Gate = PASSED) -> Manifest:
    return Manifest(
        version=number,
        control=control,
        yolo_task="detect",
        labels=("tree",),
        files=(FileEntry(name=WEIGHTS, sha256="0" * 64, size=1),),
        metrics={"mAP50-95": 0.5},
        gate=gate,
        lineage={},
        run_id=run_id,
        fence=1000,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def publish(registry: Registry, run_id: str, control: str = "label", gate: Gate = PASSED) -> int:
    return registry.publish(control, lambda number: manifest(number, run_id, control, gate)).version


def served(registry: Registry, control: str = "label") -> int | None:
    found = registry.serving(control)
    return found.version if found else None
