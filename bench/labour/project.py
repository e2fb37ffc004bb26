"""A project in memory whose tasks are tiles of a photograph, with a real store and the real training job."""

import io
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from infra.demo.samples import Tile, base_weights
from jobs.train.base_weights import ensure_base_weights
from jobs.train.data.annotations import ExportedTask
from jobs.train.data.export import IsSame
from jobs.train.evidence import Outcome
from jobs.train.parts import Parts
from jobs.train.run import run
from jobs.train.training import Trained
from jobs.train.yolo.machine import prepare_ultralytics
from jobs.train.yolo.networks import Networks
from jobs.train.yolo.overlaps import overlaps
from jobs.train.yolo.trainer import YoloTrainer
from shared.geometry.detections import Detections
from shared.geometry.suppression import suppress
from shared.inference.network import Network
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import open_store
from shared.prediction.smart.choosing import FROM, without_copies
from shared.settings import Settings
from shared.state.base_weights import download_base_file
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from shared.state.versions import DEFAULT_SHOWN, GRAPH, Manifest
from tests.fakes.train_parts import CREATED, UID, annotation, begin_run

CONTROL = "label"
_CONFIG = (
    f'<View><Image name="img" value="$image"/><RectangleLabels name="{CONTROL}" toName="img"><Label value="Tree"/>'
    "</RectangleLabels></View>"
)
_FLOOR = 0.01  # confidence from which objects are looked at


@dataclass(frozen=True, slots=True)
class Run:
    """A training that has ended."""

    seconds: float
    outcome: str
    manifest: Manifest | None  # of its version, also if it is not served


class TriedTrainer(YoloTrainer):
    """The job's trainer, with other initial weights, to try them."""

    always: Path | None = None  # the weights that every training starts from; None: those that the job chooses

    def fit(self, data: Path, start: Path, *args: Any, **kwargs: Any) -> Trained:
        """As `YoloTrainer.fit`."""
        return super().fit(data, self.always or start, *args, **kwargs)


class TileProject:
    """Its tiles are annotated one by one; each run is one of `jobs.train`, in this process."""

    def __init__(
        self,
        tiles: Sequence[Tile],
        folder: Path,
        *,
        address: str,
        settings: Mapping[str, str],
        tried: Mapping[str, Any],
        threads: int = 1,
        device: str = "cpu",
        from_base: bool = False,
        base_store: Path | None = None,
    ) -> None:
        """`address`: begins the images' addresses, and so decides which tiles are val. `tried`: see YoloTrainer.

        `device`: LABELLOOP_DEVICE. `from_base`: every training starts from the base weights, not from the champion.
        """
        self.tiles, self.annotated = tiles, 0
        self._address, self._folder, self._threads, self._device = address, folder, threads, device
        folder.mkdir(parents=True)
        if base_store:
            shutil.copytree(base_store / "base", folder / "store" / "base")
        os.environ.update(prepare_ultralytics(folder / "ultralytics", threads))
        self.settings = Settings.from_environ(
            {
                "LABEL_STUDIO_URL": "http://label-studio.test",
                "LABELLOOP_STORE": (folder / "store").as_uri(),
                "LABELLOOP_WORK_DIR": str(folder / "work"),
                "LABELLOOP_CACHE_DIR": str(folder / "cache"),
                "LABELLOOP_BASE_WEIGHTS": str(base_weights()),
                "LABELLOOP_DEVICE": device,
                "LABELLOOP_THREADS": str(threads),
                **settings,
            }
        )
        self.store = open_store(self.settings.store)
        self.registry = Registry(self.store, UID)
        self._trainer = TriedTrainer.of(self.settings, folder)
        self._trainer.tried = tried
        self._trainer.always = base_weights() if from_base else None

    def project(self, project_id: int) -> ProjectState:
        """See jobs.train.parts.Exporter."""
        counters = ProjectCounters(id=project_id, created_at=CREATED, label_config=_CONFIG)
        return ProjectState(counters, CREATED)

    def shown_versions(self, project_id: int) -> list[str]:  # noqa: ARG002
        """None: it takes no predictions."""
        return []

    def tasks(self, project_id: int, is_same: IsSame) -> Iterator[ExportedTask]:  # noqa: ARG002  (see jobs.train.parts.Exporter)
        """See jobs.train.parts.Exporter."""
        for number, tile in enumerate(self.tiles[: self.annotated]):
            result = [_region(box, tile) for box in tile.boxes.tolist()]
            address = {"image": f"{self._address}/{number}"}
            yield ExportedTask(number + 1, address, (annotation(number + 1, result),))

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:  # noqa: ARG002
        """See shared.media.fetch.Fetcher."""
        return self.tiles[int(str(value).rpartition("/")[2])].data

    def train(self) -> Run:
        """One run on what is annotated."""
        begun = time.monotonic()
        claim = begin_run(self.store)
        parts = Parts(
            store=self.store, project_uid=UID, exporter=self, images=self, videos=self, trainer=self._trainer,
            settings=self.settings, folder=self._folder / "work" / claim.run_id,
        )  # fmt: skip
        code = run(parts, claim.run_id, nonce=secrets.token_hex(4))
        shutil.rmtree(parts.folder, ignore_errors=True)
        last = Jobs(self.store, UID).read().last_run
        if code or last is None or last.outcome == "failed":
            said = last.message if last and last.outcome == "failed" else "its log says why"
            raise SystemExit(f"the run failed: {said}")
        manifest = self.registry.published_by(CONTROL, claim.run_id)
        return Run(time.monotonic() - begun, f"{last.outcome}: {last.message}", manifest)

    def network(self, manifest: Manifest | None) -> Network:
        """Of a version; None: of the base weights."""
        graph = self._folder / (f"v{manifest.version}.onnx" if manifest else "base.onnx")
        if not graph.exists():
            if manifest:
                self.registry.download_file(CONTROL, manifest.file(GRAPH), graph)
            else:
                weights = ensure_base_weights(self.store, self._trainer, self.settings.base_weights)
                download_base_file(self.store, weights, GRAPH, graph)
        size = None if manifest else self.settings.image_size
        return Networks(self._device, self._threads).of_graph(graph, image_size=size)[0]

    @cached_property
    def pixels(self) -> list[NDArray[np.uint8]]:
        """Each tile's, blue first."""
        pictures = (Image.open(io.BytesIO(tile.data)).convert("RGB") for tile in self.tiles)
        return [cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR).astype(np.uint8) for picture in pictures]

    def outcome(self, number: int, network: Network, manifest: Manifest | None, *, all_: bool = False) -> Outcome:
        """What is shown of one tile, as predict would. `all_`: everything that a version finds, before thresholds."""
        tile = self.tiles[number]
        if manifest is None:
            found = network.find(self.pixels[number], DEFAULT_SHOWN.confidence, DEFAULT_SHOWN.iou)
            found = found.only(suppress(found.xyxy, found.scores, DEFAULT_SHOWN.iou))
        elif all_:
            found = network.find(self.pixels[number], _FLOOR, DEFAULT_SHOWN.iou)
        else:
            shown = manifest.shown.get("Tree", DEFAULT_SHOWN)
            found = network.find(self.pixels[number], shown.confidence, shown.iou)
        none = np.zeros(len(tile.boxes), dtype=np.int64)
        truth = Detections.annotated(tile.width, tile.height, tile.boxes, none.tolist(), ("Tree",))
        alike = overlaps(truth, found, np.zeros(0))
        classes = np.zeros(len(found), dtype=np.int64)
        return Outcome(str(number), none, classes, found.scores, alike, found.xyxy, annotated=truth.xyxy)

    def candidates(self, number: int, network: Network) -> Detections:
        """What a click of a smart tool chooses from in one tile, as predict would."""
        return without_copies(network.find(self.pixels[number], FROM, DEFAULT_SHOWN.iou))


def _region(box: Sequence[float], tile: Tile) -> dict[str, Any]:
    left, top, right, bottom = (
        100 * edge / side for edge, side in zip(box, (tile.width, tile.height) * 2, strict=True)
    )
    value = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
    return {
        "from_name": CONTROL, "to_name": "img", "type": "rectanglelabels",
        "value": value | {"rectanglelabels": ["Tree"]},
    }  # fmt: skip
