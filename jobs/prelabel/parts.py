"""What one attempt of a prelabelling works with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jobs.prelabel.ports import Target
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.budget import NO_BUDGET, Budget


class Models(Protocol):
    """`jobs.prelabel.models.ChosenModels`."""

    def choose(self, controls: Sequence[Control]) -> str:
        """Load what is served now; answers the model_version of its predictions. Raises ModelError, StoreError."""

    def version(self, controls: Sequence[Control]) -> str:
        """The model_version of what the pointers name now. Raises StoreError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one attempt works with."""

    store: ObjectStore
    project_uid: str
    target: Target
    models: Models
    predict: Callable[[PredictRequest, float], Iterator[Any]]  # as `Predictor.each`
    settings: Settings
    reasons: Callable[[], dict[str, int]] = dict  # why `predict` answered tasks empty so far: reason → tasks
    budget: Budget = NO_BUDGET
    pause: float = 5.0  # seconds between two looks at what the other workers have done
