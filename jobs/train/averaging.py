"""A version's weights: those that were learnt, or their mean with those of the champion that the training began with.

The mean saves more work where few images are learnt from (docs/small-data.md; https://arxiv.org/abs/2109.01903). Which
of the two it is, their scores on the val set decide, before the gate: what it compares with the champion is what is
published.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.train.attempt import Attempt
from jobs.train.data.dataset import Dataset
from jobs.train.evidence import ones
from jobs.train.preset import FEW
from jobs.train.training import Contender, InitialWeights, Trained
from shared.labelstudio.controls import Control

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was trained, with its graph."""

    trained: Trained
    graph: Path


def better_of(
    attempt: Attempt, control: Control, dataset: Dataset, start: InitialWeights, trained: Trained
) -> Exported:
    """What was trained, or its mean with the champion, whichever scores more on the val set. Raises ModelError."""

    def exported(one: Trained, name: str) -> Exported:
        folder = attempt.folder_of(control, name)
        return Exported(one, attempt.trainer.export(one.weights, folder, dataset.views.tiling))

    def score(one: Exported) -> float:
        contender = Contender(one.graph, control, attempt.settings, points=control.point_names)
        evidence = attempt.trainer.evaluate(contender, dataset.data).evidence
        return float(evidence.score(ones(evidence))[0])

    learnt = exported(trained, "graph")
    if start.version is None or dataset.counts.train_images >= FEW:
        return learnt
    mean = attempt.trainer.mean(start.weights, trained.weights, attempt.folder_of(control, "mean"))
    if mean is None:
        return learnt
    averaged = exported(replace(trained, weights=mean, mean_with=start.name), "mean-graph")
    ours, theirs = score(averaged), score(learnt)
    logger.info(
        f"on the val set what was learnt scores {theirs:.3f}, its mean with {start.name} {ours:.3f}",
        extra={"event": "averaged", "learnt": theirs, "mean": ours},
    )
    return averaged if ours >= theirs else learnt
