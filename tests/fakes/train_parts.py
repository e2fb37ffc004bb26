"""A paged Label Studio over HTTP and a toy trainer, for the tests of the training job."""

import io
import itertools
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from jobs.train.checkpoints.spool import Epoch, Spool, TrainingAborted
from jobs.train.checkpoints.store import Resumed
from jobs.train.evidence import Classified, Found, Outcome
from jobs.train.judging import metrics_of
from jobs.train.tracking_scores import TrackingCounts
from jobs.train.training import (
    Contender,
    InitialWeights,
    Measured,
    Prepared,
    Seen,
    Trained,
    Trainer,
    TrainingSettings,
)
from jobs.train.yolo.machine import prepare_ultralytics
from jobs.train.yolo.trainer import YoloTrainer
from shared.digest import sha256_of
from shared.errors import ModelError
from shared.geometry.tiles import Tiling
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, RunKind
from shared.state.registry import Registry
from shared.state.runs import RunRequest, new_run_id
from tests.servers.web_server import LABEL_STUDIO_404, Handler, WebServer, web_server

DEEP = "nested deeper than anybody reads"
"""A value that is sent as 5,000 lists, one in the other."""
UID = "1.1767225600"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = (
    '<View><Image name="img" value="$image"/><RectangleLabels name="label" toName="img"><Label value="Tree"/>'
    '<Label value="Rock"/></RectangleLabels></View>'
)


def rectangle(label: str = "Tree", *, control: str = "label", rotation: float = 0, **value: float) -> dict[str, Any]:
    """A region as Label Studio stores it, in percent."""
    box = {"x": 25.0, "y": 25.0, "width": 50.0, "height": 50.0} | value
    return {
        "from_name": control,
        "to_name": "img",
        "type": "rectanglelabels",
        "value": box | {"rotation": rotation, "rectanglelabels": [label]},
    }


def training_settings(**changes: Any) -> TrainingSettings:
    """Those of a quick training."""
    given = {
        "epochs": 1, "image_size": 64, "batch": 4, "freeze": 0, "patience": 30, "val_fraction": 0.2, "seed": 0,
        "base_weights": "x", "longest_run": 3600,
    }  # fmt: skip
    return TrainingSettings.model_validate(given | changes)


def annotation(number: int, result: Sequence[dict[str, Any]] = (), **fields: Any) -> dict[str, Any]:
    """An annotation as Label Studio's API shows it."""
    moment = f"2026-02-01T00:00:{number % 60:02d}.000000Z"
    return {
        "id": number,
        "result": list(result),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": moment,
        "updated_at": moment,
    } | fields


@cache
def jpeg(width: int = 64, height: int = 48, *, orientation: int = 1, seed: int = 0) -> bytes:
    """A noisy photograph."""
    image = Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(width * height * 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out.getvalue()


@dataclass
class PagedProject:
    """Answers what the job asks of Label Studio. `task(n)` makes task n; only `count` of them exist."""

    count: int
    images: dict[str, bytes] = field(default_factory=lambda: {"a.jpg": jpeg()})
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)  # instead of the made ones
    config: str = CONFIG
    failures: list[int] = field(default_factory=list)  # statuses to answer first
    broken: set[int] = field(default_factory=set)  # tasks that Label Studio cannot show: it answers 500
    annotations_of: dict[int, int] = field(default_factory=dict)  # task → status instead of its annotations
    most: int = 10**6  # tasks a page; for more no answer comes

    def task(self, number: int) -> dict[str, Any]:
        """Task `number`, from 1."""
        made = {
            "id": number,
            "data": {"image": f"/data/upload/1/a.jpg?task={number}"},
            "updated_at": CREATED.isoformat(),
            "total_annotations": 1,
            "cancelled_annotations": 0,
            "annotations": [annotation(number, [rectangle()])],
        }
        return self.tasks.get(number, made)

    def respond(self, handler: Handler) -> None:
        """One request."""
        place = urlsplit(handler.path)
        if place.path.startswith("/api/") and self.failures:
            handler.reply(self.failures.pop(0), b"{}", Content_Type="application/json")
        elif place.path.rstrip("/") == "/api/projects/1":
            project = {
                "id": 1,
                "created_at": CREATED.isoformat(),
                "label_config": self.config,
                "task_number": self.count,
            }
            handler.reply(200, json.dumps(project).encode(), Content_Type="application/json")
        elif place.path == "/api/projects/1/model-versions":
            handler.reply(200, b'{"static": [], "live": []}', Content_Type="application/json")
        elif place.path.rstrip("/") == "/api/tasks":
            self._reply_page(handler, parse_qs(place.query))
        elif match := re.fullmatch(r"/api/tasks/(\d+)/annotations/", place.path):
            self._reply_annotations(handler, int(match[1]))
        elif (name := place.path.removeprefix("/data/upload/1/")) in self.images:
            handler.reply(200, self.images[name], Content_Type="image/jpeg")
        else:
            handler.reply(404)

    def _reply_page(self, handler: Handler, query: dict[str, list[str]]) -> None:
        tasks = self._page(query)
        if tasks is not None and len(tasks) > self.most:
            handler.web.closing.wait(30)
        if tasks is None or self.broken & {task["id"] for task in tasks}:
            status, words = (404, LABEL_STUDIO_404) if tasks is None else (500, b"{}")
            handler.reply(status, words, Content_Type="application/json")
        else:
            bare = [{name: value for name, value in task.items() if name != "annotations"} for task in tasks]
            handler.reply(200, _deep({"tasks": bare, "total": self.count}), Content_Type="application/json")

    def _reply_annotations(self, handler: Handler, number: int) -> None:
        """As Label Studio: without the cancelled ones."""
        if status := self.annotations_of.get(number):
            handler.reply(status, LABEL_STUDIO_404 if status == 404 else b"{}", Content_Type="application/json")
            return
        found = self.task(number)["annotations"]
        kept = [one for one in found if not (isinstance(one, dict) and one.get("was_cancelled"))]
        handler.reply(200, _deep(kept), Content_Type="application/json")

    def _page(self, query: dict[str, list[str]]) -> list[dict[str, Any]] | None:
        """None: as Label Studio, which answers 404 for a page behind the last one."""
        asked = json.loads(query["query"][0])
        after = next(item["value"] for item in asked["filters"]["items"] if item["filter"] == "filter:tasks:id")
        size, page = int(query["page_size"][0]), int(query.get("page", ["1"])[0])
        after += size * (page - 1)
        if page > 1 and after >= self.count:
            return None
        return [self.task(number) for number in range(after + 1, min(after + size, self.count) + 1)]


def _deep(values: Any) -> bytes:
    return json.dumps(values).replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000).encode()


@contextmanager
def served(project: PagedProject) -> Iterator[WebServer]:
    """The project behind HTTP."""
    with web_server(lambda handler: project.respond(handler)) as web:
        yield web


def settings_for(url: str, folder: Path, **fields: Any) -> Settings:
    """Settings of a job that needs nothing outside of `folder`."""
    environ = {
        "LABEL_STUDIO_URL": url,
        "LABEL_STUDIO_API_KEY": "0" * 40,
        "LABELLOOP_STORE": (folder / "store").as_uri(),
        "LABELLOOP_WORK_DIR": str(folder / "work"),
        "LABELLOOP_CACHE_DIR": str(folder / "cache"),
        "LABELLOOP_FETCH_CONCURRENCY": "4",
    }
    return Settings.from_environ(environ | {name: str(value) for name, value in fields.items()})


_RUNS = itertools.count()


def begin_run(store: ObjectStore, *, forced: bool = True, kind: RunKind = "train", **settings: Any) -> Claim:
    """What train_trigger does before it launches the job."""
    jobs = Jobs(store, UID)
    fence = Registry(store, UID).fence()
    # Run ids are in order by the second, and these runs take less.
    run_id = new_run_id(store.now() + timedelta(seconds=next(_RUNS)))
    claim = jobs.update(claims.take, run_id, lifetime=600, kind=kind, forced=forced, registry_fence=fence).held
    request = RunRequest(
        run_id=claim.run_id, project_uid=UID, project_id=1, reason="test", created_at=store.now(), settings=settings
    )
    jobs.runs.write_request(request)
    return claim


class ToyTrainer:
    """Trains nothing, but spools epochs as ultralytics' callbacks do. Its weights say how good they are."""

    def __init__(self, score: float = 0.5, *, epoch_seconds: float = 0.0) -> None:
        self.score = score
        self.base_score: float | None = None  # None: the base weights are for another yolo task
        self.mean_score: float | None = None  # of a mean with the champion; None: their weights are not alike
        self.epoch_seconds = epoch_seconds
        self.started: list[int] = []  # the first epoch of each training
        self.stop_at: list[float] = []  # time.time() after which each training must not go on
        self.on_epoch: list[Any] = []  # called after each epoch
        self.tilings: list[Tiling | None] = []  # of each graph
        self.damaged: set[str] = set()  # digests of files that are no models
        self.pictures = False  # whether the evidence names pictures
        self.prepare_error = ""  # why base weights cannot be made
        self.graph_error = ""  # how a graph differs from its weights; empty: it does not

    def prepare(self, weights: str) -> Prepared:
        """Files that are always there."""
        if self.prepare_error:
            raise ModelError(self.prepare_error)
        return Prepared(Path(__file__), Path(__file__), "detect", ("Tree",))

    def base(self, path: Path, yolo_task: str) -> InitialWeights:
        """As it comes from the store."""
        return InitialWeights(path, path.name, sha256_of(path), own=self.base_score is not None)

    def check(self, weights: Path, yolo_task: str) -> None:
        """By its digest."""
        if sha256_of(weights) in self.damaged:
            raise ModelError(f"{weights.name} holds no model")

    def fit(
        self, data: Path, start: Path, settings: TrainingSettings, spool: Spool, resumed: Resumed | None
    ) -> Trained:
        """One file an epoch."""
        first = resumed.epoch + 1 if resumed else 1
        self.started.append(first)
        self.stop_at.append(spool.stop_at)
        weights = data.parent / "weights.pt"
        weights.write_text(json.dumps({"score": self.score, "epoch": settings.epochs}))
        for number in range(first, settings.epochs + 1):
            if spool.abort.exists():
                raise TrainingAborted("told to stop")
            time.sleep(self.epoch_seconds)
            checkpoint = data.parent / "last.pt"
            checkpoint.write_text(f"epoch {number}")
            best = number == settings.epochs // 2
            spool.add(
                Epoch(number, settings.epochs, {"mAP50": number / 100, "mAP50-95": number / 200}, best, time.time()),
                checkpoint,
            )
            for tell in self.on_epoch:
                tell(number)
            if spool.is_over():
                return Trained(weights, number, batch=8)
        return Trained(weights, settings.epochs, batch=8)

    def mean(self, start: Path, trained: Path, folder: Path) -> Path | None:
        """As good as it was told to be."""
        if self.mean_score is None:
            return None
        mean = folder / trained.name
        mean.write_text(
            json.dumps({"score": self.mean_score, "of": [json.loads(one.read_text()) for one in (start, trained)]})
        )
        return mean

    def export(self, weights: Path, folder: Path, tiling: Tiling | None = None) -> Path:
        """A file that says the same."""
        self.tilings.append(tiling)
        graph = folder / weights.with_suffix(".onnx").name
        graph.write_text(f" {weights.read_text()}")
        return graph

    def evaluate(self, contender: Contender, data: Path, weights: Path | None = None) -> Measured:
        """One object in each of a hundred tasks, and as many found as the graph's score says."""
        if weights is not None and self.graph_error:
            raise ModelError(self.graph_error)
        if not contender.trained:
            return Measured(found_part(self.base_score or 0.0), known=(0,) if self.base_score else ())
        said, control = json.loads(contender.graph.read_text()), contender.control
        if control.yolo_task == "classify":
            return Measured(guessed_part(said["score"]), known=(0, 1))
        return Measured(
            found_part(said["score"], pictures=self.pictures),
            known=tuple(said.get("known", range(len(control.class_names)))),
        )

    def look(self, *asked: object, **more: object) -> list[Seen]:
        """Nothing: what it measures has no pictures."""
        return []

    def track(self, contender: Contender, videos: object, max_pixels: int) -> dict[str, TrackingCounts]:
        """Half of what is there."""
        return {"1": TrackingCounts(truth=10, found=10, matched=5, identified=5)}


def guessed_part(score: float, count: int = 100) -> Classified:
    """Evidence whose balanced accuracy is `score`: of images of two classes this part is guessed right."""
    truth = np.arange(count) % 2
    right = np.arange(count) // 2 < round(score * count / 2)
    table = truth[:, None] == np.arange(2)
    return Classified([str(number) for number in range(count)], table, np.where(right, truth, 1 - truth), (0, 1))


def found_part(score: float, count: int = 100, *, pictures: bool = False) -> Found:
    """Evidence whose mAP50-95 is `score`: each task holds one object, and this part of them is found exactly."""
    hits = round(score * count)
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    one, nothing = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return Found(
        [
            Outcome(str(number), one, one, np.ones(1), np.ones((1, 1)), box, f"{number}.jpg" * pictures)
            if number < hits
            else Outcome(
                str(number), one, nothing, np.zeros(0), np.zeros((1, 0)), np.zeros((0, 4)), f"{number}.jpg" * pictures
            )
            for number in range(count)
        ],
        [0],
    )


def measured(
    trainer: Trainer, weights: Path, data: Path, control: Control, settings: TrainingSettings
) -> dict[str, float]:
    """The metrics of a version of a control, whose graph finds what its weights find."""
    graph = trainer.export(weights, weights.parent / "graph")
    found = trainer.evaluate(Contender(graph, control, settings, points=control.point_names), data, weights)
    return metrics_of(found.evidence, control, {})


@contextmanager
def yolo_trainer(folder: Path, *, threads: int) -> Iterator[YoloTrainer]:
    """The real trainer on the processor, with the environment that the job sets."""
    with pytest.MonkeyPatch.context() as environ:
        for name, value in prepare_ultralytics(folder / "ultralytics", threads=threads).items():
            environ.setenv(name, value)
        from ultralytics.utils import env_bool

        # Both were read when ultralytics was imported, perhaps by another test.
        environ.setattr("ultralytics.nn.tasks.SAFE_LOAD", env_bool("ULTRALYTICS_SAFE_LOAD"))
        environ.setattr("ultralytics.utils.WEIGHTS_DIR", folder / "ultralytics" / "weights")
        yield YoloTrainer(
            folder / "model",
            config_dir=folder / "ultralytics",
            weights_folder=folder / "weights",
            device="cpu",
            threads=threads,
        )
