"""What a run asks of a trainer: the port, its settings and its answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Resumed
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.evidence import Evidence, Found
from jobs.train.yolo.tracking_scores import TrackingCounts
from shared.errors import SettingsError
from shared.labelstudio.config import Control, YoloTask
from shared.settings import Settings
from shared.state.registry import DEFAULT_SHOWN


class TrainingSettings(BaseModel):
    """The settings of one run, as the trigger froze them in its request (per-project overrides applied)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epochs: int = Field(ge=1)
    image_size: int = Field(ge=32)
    batch: int = Field(ge=0)  # 0: chosen from the device's memory
    freeze: int = Field(ge=0)
    patience: int = Field(ge=0)
    val_fraction: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0, lt=2**31)  # numpy takes 32 bits; ultralytics adds the number of the process
    base_weights: str
    longest_run: float = Field(gt=0)  # seconds
    iou: float = Field(default=DEFAULT_SHOWN.iou, ge=0, le=1)  # boxes of a class that overlap more are one
    max_objects: int = Field(default=300, ge=1)  # objects that are shown of an image
    fliplr: float = Field(default=0.5, ge=0, le=1)  # share of the images that are mirrored, left to right
    flipud: float = Field(default=0.0, ge=0, le=1)  # and upside down

    @classmethod
    def of(cls, request: dict[str, Any], settings: Settings) -> "TrainingSettings":
        """What the request holds, and the job's own settings for what it does not; None is not set.

        Raises SettingsError.
        """
        given = {name: getattr(settings, name) for name in cls.model_fields} | request
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            where = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
            raise SettingsError(f"the settings of this run cannot be used: {where}") from error


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Where a training begins."""

    weights: Path  # of the YOLO task that is trained
    name: str  # "v3", "yolo11n-seg.pt", or "yolov8n-seg from trees.pt": its tensors in another architecture
    sha256: str  # of the file that `name` means
    own: bool = True  # they are weights for the yolo task; False: tensors for another one


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training."""

    weights: Path  # of the best epoch, without training state
    epochs: int  # finished
    batch: int | None  # images a step; None: nothing was left to train
    told: Mapping[str, Any] = field(default_factory=dict)  # to ultralytics, beyond the settings: for the manifest
    notes: tuple[str, ...] = ()  # sentences for the report


@dataclass(frozen=True, slots=True)
class Measured:
    """What weights showed on a val set."""

    evidence: Evidence
    known: tuple[int, ...]  # classes of the dataset that they know
    most: int = 0  # objects of a picture that they could show; 0: no such limit

    @property
    def cut(self) -> int:
        """Pictures with more objects than could be shown."""
        outcomes = self.evidence.outcomes if isinstance(self.evidence, Found) else ()
        return sum(len(outcome.truth) > self.most for outcome in outcomes)


class Trainer(Protocol):
    """What fine-tunes and validates models."""

    def base(self, name: str, yolo_task: YoloTask) -> InitialWeights:
        """The base weights, for that task. Raises ModelError."""

    def check(self, weights: Path, yolo_task: YoloTask) -> None:
        """Raises ModelError if the file is no model for that task, whatever machine reads it; SettingsError if this
        machine's packages cannot."""

    def fit(
        self, data: Path, start: Path, settings: TrainingSettings, spool: Spool, resumed: Resumed | None
    ) -> Trained:
        """Fine-tune `start` on `data`, or go on from `resumed`. Raises TrainingAborted, ModelError."""

    def evaluate(
        self,
        weights: Path,
        data: Path,
        control: Control,
        settings: TrainingSettings,
        *,
        trained: bool,
        points: Sequence[str],
    ) -> Measured:
        """What `weights` show on the val set of `data`. `trained`: a version of this project, no stranger's weights.

        `points`: the keypoints that are compared. Raises ModelError.
        """

    def track(
        self,
        weights: Path,
        videos: Iterable[tuple[SnapshotTask, Path]],
        control: Control,
        settings: TrainingSettings,
        *,
        trained: bool,
        max_pixels: int,
    ) -> dict[str, TrackingCounts]:
        """Task → how well its objects are followed; without those whose video cannot be decoded."""
