"""Fine-tuning and validation with ultralytics, which is imported inside functions only, as torch is."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Resumed
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.tracking_scores import TrackingCounts
from jobs.train.training import Contender, InitialWeights, Measured, Prepared, Seen, Trained, TrainingSettings
from jobs.train.yolo.fitting import Fitting
from jobs.train.yolo.graph import check_packages
from jobs.train.yolo.machine import devices
from jobs.train.yolo.networks import Networks
from jobs.train.yolo.offline import place_downloads
from jobs.train.yolo.transfer import transferred
from jobs.train.yolo.weights import base_weights_file, check_weights, open_weights, write_published
from shared.digest import sha256_of
from shared.geometry.tiles import Tiling
from shared.settings import Settings
from shared.yolo_task import YoloTask


class YoloTrainer:
    """Trains and validates with ultralytics, for one job (see `jobs.train.training.Trainer`)."""

    tried: Mapping[str, Any] = MappingProxyType({})  # arguments of ultralytics that an experiment replaces

    def __init__(
        self,
        folder: Path,
        *,
        config_dir: Path,
        weights_folder: Path,
        device: str = "auto",
        workers: int = -1,
        threads: int = 0,
        float32: bool = False,
    ) -> None:
        """`folder`: scratch. `config_dir`: what YOLO_CONFIG_DIR names. `weights_folder`: for downloaded base weights.

        `device`, `workers` and `threads` as LABELLOOP_DEVICE, LABELLOOP_WORKERS and LABELLOOP_THREADS.

        `float32`: train in no fewer bits.
        """
        self._folder = folder
        self._config_dir = config_dir
        self._weights_folder = weights_folder
        self._device = device
        self._workers = workers
        self._threads = threads
        self._float32 = float32
        self._networks = Networks(device, threads)

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> Self:
        """As the settings say. `folder`: scratch; `prepare_ultralytics` was given its folder `ultralytics`."""
        return cls(
            folder / "model",
            config_dir=folder / "ultralytics",
            weights_folder=Path(settings.work_dir) / "weights",
            device=settings.device,
            workers=settings.workers,
            threads=settings.threads,
            float32=settings.precision == "float32",
        )

    def prepare(self, weights: str) -> Prepared:
        """Weights with their graph. A name without a folder may be one that ultralytics downloads.

        Raises ModelError, LabelloopError if a download failed, and SettingsError if a package is missing.
        """
        check_packages()
        path = base_weights_file(weights, self._weights_folder)
        from ultralytics.utils import ASSETS

        from jobs.train.yolo.agreement import require_same_answers

        open_weights(path)  # whose errors name the file as the operator did
        self._folder.mkdir(parents=True, exist_ok=True)
        copy = self._folder / "prepared.pt"
        shutil.copyfile(path, copy)
        graph = self.export(copy, self._folder)
        networks = Networks("cpu", self._threads)  # a GPU rounds more
        network, _ = networks.of_graph(graph)
        require_same_answers(network, networks.of_weights(copy, network), sorted(ASSETS.glob("*.jpg")))
        return Prepared(copy, graph, network.graph.yolo_task, network.graph.names)

    def base(self, path: Path, yolo_task: YoloTask) -> InitialWeights:
        """The base weights for a YOLO task.

        Detection weights serve every task: a model of the task's architecture takes over the tensors that fit. Raises
        ModelError, and SettingsError if a package is missing.
        """
        check_packages()
        model = open_weights(path)
        if model.task == yolo_task:
            return InitialWeights(path, path.name, sha256_of(path))
        self._folder.mkdir(parents=True, exist_ok=True)
        weights, called = transferred(model, yolo_task, path, self._folder)
        return InitialWeights(weights, called, sha256_of(path), own=False)

    def check(self, weights: Path, yolo_task: YoloTask) -> None:
        """Raise ModelError if the file is no model for the YOLO task, SettingsError if this machine cannot read it."""
        check_packages()
        check_weights(weights, yolo_task)

    def fit(
        self, data: Path, start: Path, settings: TrainingSettings, spool: Spool, resumed: Resumed | None
    ) -> Trained:
        """Train until the last epoch, until `patience` is used up or the spool's time is; answers the best epoch.

        Raises TrainingAborted, and ModelError if even a batch of one image needs too much memory.
        """
        if resumed and (resumed.finished or spool.is_over()):
            return Trained(
                write_published(resumed.best or resumed.last, data, self._folder / "weights.pt"),
                resumed.epoch,
                batch=None,
            )
        place_downloads(self._config_dir, start)
        fitting = Fitting(
            data,
            settings,
            spool,
            folder=self._folder,
            device=devices(self._device),
            workers=self._workers,
            float32=self._float32,
            tried=self.tried,
        )
        return fitting.run(start, resumed)

    def mean(self, start: Path, trained: Path, folder: Path) -> Path | None:
        """The mean of the weights `start` and of what was trained from them; None if they are not alike.

        Raises ModelError.
        """
        from jobs.train.yolo.averaging import mean_of

        folder.mkdir(parents=True, exist_ok=True)
        return mean_of(start, trained, folder / "weights.pt")

    def export(self, weights: Path, folder: Path, tiling: Tiling | None = None) -> Path:
        """Write the graph of weights into a folder of scratch. Raises ModelError."""
        from jobs.train.yolo.graph import make_graph

        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / weights.name  # ultralytics writes beside what it reads
        if not (copy.exists() and copy.samefile(weights)):
            shutil.copyfile(weights, copy)
        return make_graph(copy, tiling)

    def evaluate(self, contender: Contender, data: Path, weights: Path | None = None) -> Measured:
        """Measure a model on the val set of `data` (data.yaml), run as predict runs it.

        Raises ModelError, also if `weights`, of which the graph was made, do not answer as it does.
        """
        from jobs.train.yolo.agreement import answer_alike, require_same_score
        from jobs.train.yolo.val_set import ValSet
        from jobs.train.yolo.validation import measure

        network, at_once = self._networks.of_contender(contender)
        found = measure(network, contender, data, at_once=at_once)
        if weights is not None:
            theirs = self._networks.of_weights(weights, network, max_objects=contender.settings.max_objects)
            if not answer_alike(network, theirs, ValSet.of(data).pictures()):
                require_same_score(found.evidence, measure(theirs, contender, data, at_once=1).evidence)
        return found

    def look(self, contender: Contender, data: Path, pictures: Sequence[str]) -> list[Seen]:
        """What a model finds in some pictures of the val set. Raises ModelError."""
        from jobs.train.yolo.validation import look

        network, _ = self._networks.of_contender(contender)
        return look(network, contender, data, pictures)

    def track(
        self, contender: Contender, videos: Iterable[tuple[SnapshotTask, Path]], max_pixels: int
    ) -> dict[str, TrackingCounts]:
        """Id of the task → how well the objects in its annotated video are followed. Raises ModelError."""
        from jobs.train.yolo.tracking import track_metrics

        network, _ = self._networks.of_contender(contender)
        return track_metrics(network, contender, videos, max_pixels)
