"""The port of trainers: Trainer, its settings and its results."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Resumed
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.evidence import Evidence, Outcome
from jobs.train.tracking_scores import TrackingCounts
from shared.errors import SettingsError
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.labelstudio.controls import Control
from shared.settings import Settings
from shared.state.versions import DEFAULT_SHOWN
from shared.yolo_task import YoloTask

_CLASSIFIED_SHARE = 224 / 640  # ultralytics' image size of classifiers to that of detectors
_MIN_CLASSIFIED = 64  # pixels; below, a batch of one image has one value a channel, which cannot be normalised


class TrainingSettings(BaseModel):
    """The settings of one run, with the overrides of its project, as the trigger wrote them into the request."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    epochs: int = Field(ge=0)  # 0: chosen by the number of images (`jobs.train.preset`)
    image_size: int = Field(ge=32)
    batch: int = Field(ge=0)  # images a step; 0: chosen, of few images by their number, else from the device's memory
    learning_rate: float = Field(default=0.0, ge=0)  # at most, of AdamW; 0: chosen by ultralytics, as the optimizer is
    freeze: int = Field(ge=0)
    patience: int = Field(ge=0)
    val_fraction: float = Field(gt=0, lt=1)
    seed: int = Field(ge=0, lt=2**31)  # numpy takes 32 bits, and ultralytics adds the rank of the process
    base_weights: str
    longest_run: float = Field(gt=0)  # seconds
    iou: float = Field(default=DEFAULT_SHOWN.iou, ge=0, le=1)  # overlap for suppression
    max_objects: int = Field(default=300, ge=1)  # shown of an image
    reduced_decoding: bool = True  # of JPEG files that are much larger than what a model sees
    fliplr: float = Field(default=0.5, ge=0, le=1)  # share of the images that are mirrored, left to right
    flipud: float = Field(default=0.0, ge=0, le=1)  # and upside down
    tiles: str = "auto"  # auto, off, or the pixels of a tile's side

    @classmethod
    def of(cls, request: dict[str, Any], settings: Settings) -> "TrainingSettings":
        """The request's settings; the job's own where the request has none or None. Raises SettingsError."""
        own = cls.model_fields.keys() - {"learning_rate"}  # which a preset alone chooses
        given = {name: getattr(settings, name) for name in own} | request
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            where = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
            raise SettingsError(f"the settings of this run cannot be used: {where}") from error


def task_image_size(yolo_task: YoloTask, image_size: int) -> int:
    """Longer side in pixels of the images that a model of this task sees; `image_size`: the setting.

    Classifiers get 224 where others get 640 (ultralytics' defaults), and other sizes in proportion.
    """
    if yolo_task != "classify":
        return image_size
    return max(_MIN_CLASSIFIED, round(image_size * _CLASSIFIED_SHARE / 32) * 32)


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """The weights that a training starts from."""

    weights: Path  # of the YOLO task that is trained
    name: str  # "v3", "yolo11n-seg.pt", or "yolov8n-seg from trees.pt": detection weights in another architecture
    sha256: str  # of the file that `name` names; hex
    own: bool = True  # False: detection weights, transferred to another yolo task
    version: int | None = None  # that has these weights; None: they are base weights


@dataclass(frozen=True, slots=True)
class Prepared:
    """Weights that can be served."""

    weights: Path  # the bytes that were given
    graph: Path  # of the same network
    yolo_task: YoloTask
    names: tuple[str, ...]  # class index → name


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training."""

    weights: Path  # of the best epoch, without training state
    epochs: int  # that were finished
    batch: int | None  # images a step; None: no epoch was left to train
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of ultralytics, for the manifest
    notes: tuple[str, ...] = ()  # sentences for the report
    stopped: str = ""  # a sentence about why its time was over before its epochs were, if it was
    mean_with: str = ""  # the version with whose weights the learnt ones were averaged, "v3"; empty: with none


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that is measured: its graph, and how predict runs it."""

    graph: Path
    control: Control
    settings: TrainingSettings
    trained: bool = True  # a version of this project: its classes are labels by name alone; False: base weights
    points: tuple[str, ...] = ()  # names of the keypoints that are compared


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of a model on a val set."""

    evidence: Evidence
    known: tuple[int, ...]  # classes of the dataset that the model knows


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture of a val set, and what a model found in it."""

    picture: Path
    truth: Detections  # of a classifier: an object for each class of the picture
    found: Detections  # of a classifier: the likeliest classes, the first one first
    outcome: Outcome | None  # of the same objects; None of a classifier


class Trainer(Protocol):
    """Fine-tunes and validates models."""

    def prepare(self, weights: str) -> Prepared:
        """Weights with their graph, which answers as they do. `weights`: a file or a name of ultralytics.

        Raises ModelError, and LabelloopError if a download failed.
        """

    def base(self, path: Path, yolo_task: YoloTask) -> InitialWeights:
        """The base weights in a file, for a yolo task. Raises ModelError."""

    def check(self, weights: Path, yolo_task: YoloTask) -> None:
        """Raise ModelError if the file is no model for the yolo task, SettingsError if this machine cannot read it."""

    def fit(
        self, data: Path, start: Path, settings: TrainingSettings, spool: Spool, resumed: Resumed | None
    ) -> Trained:
        """Fine-tune `start` on `data` (data.yaml), or continue from `resumed`. Raises TrainingAborted, ModelError."""

    def mean(self, start: Path, trained: Path, folder: Path) -> Path | None:
        """The mean of the weights `start` and of what was trained from them; None if they are not alike.

        `folder`: scratch. Raises ModelError.
        """

    def export(self, weights: Path, folder: Path, tiling: Tiling | None = None) -> Path:
        """The graph of weights, from which they are served, in a folder of scratch. Raises ModelError.

        `tiling`: how large pictures are cut for it, by which it is measured and served.
        """

    def evaluate(self, contender: Contender, data: Path, weights: Path | None = None) -> Measured:
        """Measure a model on the val set of `data` (data.yaml). Raises ModelError.

        `weights`: what the graph was made of; raises ModelError if they do not answer alike.
        """

    def look(self, contender: Contender, data: Path, pictures: Sequence[str]) -> list[Seen]:
        """What a model finds in some pictures of the val set of `data` (data.yaml), drawn objects included.

        `pictures`: as `Outcome.picture`. Raises ModelError.
        """

    def track(
        self, contender: Contender, videos: Iterable[tuple[SnapshotTask, Path]], max_pixels: int
    ) -> dict[str, TrackingCounts]:
        """Id of the task → tracking counts of its video, without videos that cannot be used. Raises ModelError.

        `max_pixels`: of a frame.
        """
