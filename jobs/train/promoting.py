"""Moves the pointer of a control to a published version, if it may replace the one that is served."""

import logging
from dataclasses import dataclass
from typing import Literal

from jobs.train.attempt import Attempt
from jobs.train.champion import judge_with_champion, serving
from jobs.train.control_dataset import build_dataset
from jobs.train.data.dataset import Dataset
from shared.errors import ClaimLost, ModelError, PreconditionFailed
from shared.labelstudio.controls import Control
from shared.state.versions import GRAPH, Manifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a control's run ended."""

    outcome: Literal["promoted", "rejected"]
    message: str
    suspects: int = 0  # annotations that are worth a look


def promote(attempt: Attempt, control: Control, manifest: Manifest, dataset: Dataset | None) -> Verdict:
    """Move the pointer to `manifest`. If it names another version than the gate saw, judge again against that one.

    `dataset`: None if an earlier attempt published; then it is built only if it is needed. Raises ClaimLost,
    ModelError, StoreError, and as `build_dataset`.
    """
    registry, gate = attempt.registry, manifest.gate
    if gate.passed:
        attempt.progress.phase("promote", control=control.name, message=gate.reason)
    while gate.passed:
        attempt.heartbeat.confirm()
        pointer = registry.pointer(control.name)
        if pointer and (pointer.run_id, pointer.version) == (attempt.run_id, manifest.version):
            break
        served = serving(attempt, control)
        if (served.version if served else None) != gate.champion_version:
            dataset = dataset or build_dataset(attempt, control)
            if dataset is None:
                raise ModelError(f"v{manifest.version} of {control.name!r} has no dataset to be compared on")
            graph = attempt.folder_of(control, "published") / GRAPH
            registry.download_file(control.name, manifest.file(GRAPH), graph)
            gate = judge_with_champion(attempt, control, dataset, graph).gate
            continue
        try:
            registry.promote(
                control.name,
                manifest.version,
                fence=attempt.claim.fence,
                run_id=attempt.run_id,
                expected=pointer.version if pointer else None,
            )
        except PreconditionFailed:
            logger.info(
                "the pointer was moved by somebody else: judging again",
                extra={"event": "pointer_moved", "control": control.name},
            )
            continue
        except ClaimLost:
            attempt.heartbeat.confirm()  # raises if the claim is lost; else somebody rolled back with a newer fence
            return _rejected(
                manifest,
                f"somebody rolled back while it trained; `labelloop rollback --to {manifest.version}` serves it",
            )
        break
    else:
        return _rejected(manifest, gate.reason)
    logger.info(
        f"v{manifest.version} of {control.name!r} is served",
        extra={"event": "promoted", "control": control.name, "version": manifest.version},
    )
    return _verdict("promoted", manifest, f"v{manifest.version} of {control.name!r}: {gate.reason}")


def _rejected(manifest: Manifest, why: str) -> Verdict:
    return _verdict("rejected", manifest, f"v{manifest.version} of {manifest.control!r} is not served: {why}")


def _verdict(outcome: Literal["promoted", "rejected"], manifest: Manifest, message: str) -> Verdict:
    remarks = manifest.lineage.get("remarks")
    message = f"{message} ({remarks})" if remarks else message
    return Verdict(outcome, message, suspects=manifest.lineage.get("suspects", 0))
