"""All controls of one run, trained one after the other; each has its own model and pointer."""

import logging
from collections.abc import Mapping

from jobs.train.attempt import Attempt
from jobs.train.control import learn
from jobs.train.data.annotations import NothingToLearn
from jobs.train.data.outage import ImagesMissing
from jobs.train.promoting import Verdict
from shared.errors import (
    ClaimLost,
    LabelConfigError,
    LabelloopError,
    ModelError,
    ProjectGone,
    SettingsError,
    StoreError,
)
from shared.labelstudio.controls import Control
from shared.labelstudio.held_labels import outside, outside_sentences, way_back

logger = logging.getLogger(__name__)

PERMANENT = (NothingToLearn, ImagesMissing, LabelConfigError, ModelError, ProjectGone, SettingsError)
"""Errors that another attempt would meet again."""
_SENTENCES = 5  # labels that an error names


def learn_all(attempt: Attempt, controls: tuple[Control, ...]) -> tuple[list[Verdict], list[LabelloopError]]:
    """Train each control: (verdicts on the controls in use, permanent failures).

    One control's failure does not undo what another published. A failure that may not happen again is raised after all
    controls were tried: the next attempt promotes what is published and trains the rest. Raises ClaimLost and
    StoreError at once, NothingToLearn if no annotation uses any control.
    """
    verdicts: list[Verdict] = []
    permanent: list[LabelloopError] = []
    transient: list[Exception] = []
    for number, control in enumerate(controls):
        try:
            verdict = learn(attempt, control, controls_left=len(controls) - number)
        except (ClaimLost, StoreError):
            raise
        except Exception as error:
            attempt.heartbeat.check()  # raises if the training failed because the claim was lost
            sentence = f"{control.name!r} was not trained: {error}"
            logger.error(
                sentence,
                exc_info=not isinstance(error, LabelloopError),  # their message is enough
                extra={"event": "control_failed", "control": control.name, "error": type(error).__name__},
            )
            if isinstance(error, PERMANENT):
                permanent.append(type(error)(sentence))
            else:
                transient.append(error)
        else:
            verdicts += [verdict] if verdict else []
    if transient:
        raise transient[0]
    if not verdicts and not permanent:
        raise NothingToLearn(_nothing_held(controls, attempt.snapshot.header.baseline.labels))
    return verdicts, permanent


def _nothing_held(controls: tuple[Control, ...], held: Mapping[str, Mapping[str, int]]) -> str:
    """Why no control can be trained. `held`: control → label → annotated tasks."""
    used = ", ".join(f"{control.name!r} (<{control.tag}>)" for control in controls)
    said = f"no annotated task holds anything with a label of {used}"
    lost = [(control, label) for control in controls for label in outside(control, held.get(control.name, {}))]
    if not lost:
        return said
    sentences = [one for control in controls for one in outside_sentences(control, held.get(control.name, {}))]
    return f"{said}: {'; '.join(sentences[:_SENTENCES])}: {way_back(*lost[0])}"
