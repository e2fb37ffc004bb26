"""All controls of one run: each learns for itself, has a pointer of its own, and none stands in another's way."""

import logging

from jobs.train.attempt import Attempt
from jobs.train.control import Verdict, learn
from jobs.train.data.annotations import NothingToLearn
from jobs.train.data.outage import ImagesMissing
from shared.errors import (
    ClaimLost,
    LabelConfigError,
    LabelloopError,
    ModelError,
    ProjectGone,
    SettingsError,
    StoreError,
)
from shared.labelstudio.config import Control

logger = logging.getLogger(__name__)

HOPELESS = (NothingToLearn, ImagesMissing, LabelConfigError, ModelError, ProjectGone, SettingsError)
"""Errors that no further attempt can heal."""


def learn_all(attempt: Attempt, controls: tuple[Control, ...]) -> tuple[list[Verdict], list[LabelloopError]]:
    """Verdicts on the controls that somebody used, and the failures that no further attempt can heal.

    What one control published stays when another one fails. A failure that may heal is raised when all had their turn:
    the next attempt finds the versions of the others and trains only what is missing. Raises ClaimLost and StoreError
    at once, NothingToLearn if nobody used any control.
    """
    verdicts: list[Verdict] = []
    hopeless: list[LabelloopError] = []
    may_heal: list[Exception] = []
    for number, control in enumerate(controls):
        try:
            verdict = learn(attempt, control, controls_left=len(controls) - number)
        except (ClaimLost, StoreError):
            raise
        except Exception as error:
            attempt.heartbeat.check()  # a training that is told to stop fails too
            sentence = f"{control.name!r} was not trained: {error}"
            logger.error(
                sentence,
                exc_info=not isinstance(error, LabelloopError),  # those say what happened in their message
                extra={"event": "control_failed", "control": control.name, "error": type(error).__name__},
            )
            if isinstance(error, HOPELESS):
                hopeless.append(type(error)(sentence))
            else:
                may_heal.append(error)
        else:
            verdicts += [verdict] if verdict else []
    if may_heal:
        raise may_heal[0]
    if not verdicts and not hopeless:
        used = ", ".join(f"{control.name!r} (<{control.tag}>)" for control in controls)
        raise NothingToLearn(f"no annotated task holds anything with a label of {used}")
    return verdicts, hopeless
