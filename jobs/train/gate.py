"""Whether a challenger may replace the champion."""

from collections.abc import Container
from dataclasses import dataclass

from shared.labelstudio.config import Control
from shared.registry import Gate


def metric_of(control: Control, measured: Container[str]) -> str:
    """The metric that decides: mAP50-95 of boxes, masks or poses; of a classifier the share of first guesses.

    Of what is followed through videos IDF1, if it was measured: not where no video of the val set can be decoded.
    """
    if control.tag == "VideoRectangle" and "IDF1" in measured:
        return "IDF1"
    return "top1" if control.yolo_task == "classify" else "mAP50-95"


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that is served now, as the gate sees it."""

    version: int
    labels: tuple[str, ...]


def why_not_compared(
    labels: tuple[str, ...], champion: Champion | None, *, val: int, least_val: int, comparable: bool
) -> str | None:
    """One sentence if challenger and champion cannot be compared, else None. `val`: tasks of the val set."""
    if champion is None:
        return "promoted without comparison: there is no version before it"
    if champion.labels != labels:
        return f"promoted without comparison: v{champion.version} knows other labels ({', '.join(champion.labels)})"
    if not comparable:
        return (
            f"promoted without comparison: {val} of the annotated tasks fell into the val set, {least_val} are needed "
            "(and something annotated in the others)"
        )
    return None


def ungated(metric: str, reason: str, challenger: float | None, champion: Champion | None) -> Gate:
    """Let the challenger pass, and say why nothing was compared."""
    version = champion.version if champion else None
    return Gate(
        metric=metric, challenger=challenger, champion=None, champion_version=version, passed=True, reason=reason
    )


def compare(metric: str, challenger: float, champion_score: float, champion: Champion, val: int) -> Gate:
    """The challenger passes if it is at least as good on the same val set: it has seen newer annotations."""
    passed = challenger >= champion_score
    verdict = "at least as good as" if passed else "worse than"
    return Gate(
        metric=metric,
        challenger=challenger,
        champion=champion_score,
        champion_version=champion.version,
        passed=passed,
        reason=f"{metric} {challenger:.4f} is {verdict} the {champion_score:.4f} of v{champion.version} on {val} tasks",
    )
