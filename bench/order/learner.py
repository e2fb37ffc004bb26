"""Fine-tunes a small network on tiles of real photographs, and says what it finds on all of them.

ultralytics' trainer without its validations and checkpoints, which would take most of the time of such short trainings.
"""

import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infra.demo.samples import AERIAL_IMAGE, CACHE, Tile, tiles
from jobs.train.evidence import Outcome
from jobs.train.yolo.arguments import schedule
from jobs.train.yolo.overlaps import overlaps
from shared.geometry.detections import Detections, Floats, xyxy_to_xywhn
from shared.inference.candidates import surest, to_corners, without_twins
from shared.prediction.plan import FLOOR

PHOTOGRAPHS = (AERIAL_IMAGE, "OSBS_029", "SOAP_061")
TILE = 100  # pixels of a photograph
IMAGE_SIZE = 128
_BATCH = 4
_FEATURES = 9  # layer whose mean is the embedding of a picture: the end of the backbone
_MOST = 50  # objects of a tile
_OVERLAP = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What a model says of every tile."""

    found: tuple[Outcome, ...]  # objects from FLOOR on, in pixels of the tile; `task` is the tile's number
    embeddings: Floats  # (tiles, features)


class Learner:
    """All tiles of the photographs, numbered, and models that learn from some of them."""

    def __init__(self, folder: Path, cache: Path = CACHE) -> None:
        """`folder`: scratch."""
        self.tiles: list[Tile] = [
            tile for name in PHOTOGRAPHS for tile in tiles(name, size=TILE, file_format="PNG", cache=cache)
        ]
        self._folder = folder
        self._pixels = np.stack([_seen(tile) for tile in self.tiles])
        for kind in ("images", "labels"):
            (folder / "all" / kind).mkdir(parents=True, exist_ok=True)
        for number, tile in enumerate(self.tiles):
            (folder / "all" / "images" / f"{number}.png").write_bytes(tile.data)
            rows = xyxy_to_xywhn(tile.boxes, TILE, TILE).tolist()
            lines = "".join(f"0 {' '.join(f'{value:.6f}' for value in row)}\n" for row in rows)
            (folder / "all" / "labels" / f"{number}.txt").write_text(lines)

    def train(self, start: Path, learnt: Sequence[int], epochs: int, seed: int) -> Path:
        """Fine-tune `start` on the tiles `learnt`; answers weights that the next call may overwrite."""
        import torch
        from ultralytics.models.yolo.detect import DetectionTrainer

        class Short(DetectionTrainer):  # type: ignore[misc]
            def validate(self) -> Any:
                return {}, 0.0

            def save_model(self) -> bool:
                return False

            def save_metrics(self, metrics: Any) -> None: ...

            def final_eval(self) -> None: ...

        data = self._dataset(learnt)
        told = {
            "model": str(start), "data": str(data), "epochs": epochs, "imgsz": IMAGE_SIZE, "batch": _BATCH,
            "nbs": _BATCH, "seed": seed, "device": "cpu", "workers": 0, "plots": False, "val": False, "verbose": False,
            "amp": False, "save_dir": str(self._folder / "training"), "exist_ok": True, **schedule(epochs),
        }  # fmt: skip
        trainer = Short(overrides=told)
        trainer.train()
        weights = self._folder / f"{start.stem.split('-')[0]}-next.pt"
        model = trainer.ema.ema
        model.criterion = None
        torch.save({"model": model, "train_args": {}}, weights)
        return weights

    def look(self, weights: Path) -> Looks:
        """What the model of these weights finds on all tiles."""
        import torch
        from ultralytics.nn.tasks import load_checkpoint

        model, _ = load_checkpoint(str(weights))
        model.eval()
        features: list[Any] = []
        hook = model.model[_FEATURES].register_forward_hook(
            lambda _module, _given, made: features.append(made.mean(dim=(2, 3)))
        )
        outputs: list[Any] = []
        with torch.inference_mode():
            for first in range(0, len(self._pixels), 38):
                batch = torch.from_numpy(self._pixels[first : first + 38]).float() / 255
                outputs += list(model(batch)[0].numpy())
        hook.remove()
        found = tuple(self._outcome(number, output) for number, output in enumerate(outputs))
        return Looks(found, torch.cat(features).numpy().astype(np.float64))

    def _outcome(self, number: int, output: Any) -> Outcome:
        table = without_twins(to_corners(surest(output, FLOOR, len(output) - 4)), _OVERLAP, _MOST)
        boxes = np.clip(table[:, :4] * TILE / IMAGE_SIZE, 0, TILE)
        truth = self.tiles[number].boxes
        there = Detections.annotated(TILE, TILE, truth, np.zeros(len(truth)), ("Tree",))
        seen = Detections.annotated(TILE, TILE, boxes, np.zeros(len(boxes)), ("Tree",))
        return Outcome(str(number), there.classes, seen.classes, table[:, 4], overlaps(there, seen, np.zeros(0)), boxes)

    def _dataset(self, learnt: Sequence[int]) -> Path:
        folder = self._folder / "dataset"
        shutil.rmtree(folder, ignore_errors=True)
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            (folder / kind).mkdir(parents=True)
            for number in learnt:
                os.link(self._folder / "all" / kind / f"{number}.{suffix}", folder / kind / f"{number}.{suffix}")
        described = {"path": str(folder), "train": "images", "val": "images", "names": ["Tree"]}
        (folder / "data.yaml").write_text(json.dumps(described))
        return folder / "data.yaml"


def _seen(tile: Tile) -> Any:
    """(3, IMAGE_SIZE, IMAGE_SIZE) uint8, red first."""
    image = Image.open(io.BytesIO(tile.data)).convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)
