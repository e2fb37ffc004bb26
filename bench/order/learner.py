"""Fine-tunes the head of a network on tiles of a real photograph, and says what it finds on all of them.

The layers before the head stay as they are in the base weights. So what they make of the tiles is computed once, and a
training costs seconds: sixty trainings of whole networks, and as stable ones, would take a day on one core.
"""

import io
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.order.base import make_base
from infra.demo.samples import AERIAL_IMAGE, Tile, tiles
from jobs.train.evidence import Outcome
from jobs.train.yolo.overlaps import overlaps
from shared.geometry.detections import Detections, Floats, xyxy_to_xywhn
from shared.inference.candidates import most_confident, to_corners, without_duplicates
from shared.prediction.plan import FLOOR

TILE = 100  # pixels of a photograph
IMAGE_SIZE = 128
_ELSEWHERE = ("OSBS_029", "SOAP_061")  # photographs of the base weights
_BATCH, _STEPS, _RATE = 8, 40, 3e-4
_FEATURES = 9  # layer whose mean is the embedding of a picture: the end of the backbone
_MOST = 50  # objects of a tile
_OVERLAP = 0.7
_VIEWS = 4  # as it is, mirrored, upside down, both


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What a model says of every tile."""

    found: tuple[Outcome, ...]  # objects from FLOOR on, in pixels of the tile; `task` is the tile's number
    embeddings: Floats  # (tiles, features)


class Learner:
    """All tiles of the photograph, numbered, and heads that learn from some of them."""

    def __init__(self, base: Path) -> None:
        """`base`: the weights to start from; made first, if they are not there."""
        import torch
        from ultralytics.cfg import get_cfg
        from ultralytics.nn.tasks import load_checkpoint
        from ultralytics.utils.loss import v8DetectionLoss

        self.tiles: list[Tile] = tiles(AERIAL_IMAGE, size=TILE, file_format="PNG")
        if not base.exists():
            elsewhere = [tile for name in _ELSEWHERE for tile in tiles(name, size=TILE, file_format="PNG")]
            make_base(elsewhere, IMAGE_SIZE, base)
        model, _ = load_checkpoint(str(base))
        model.args = get_cfg()
        self.base = model.eval().model[-1]  # a head
        self._loss = v8DetectionLoss(model)
        pixels = torch.from_numpy(np.stack([_seen(tile) for tile in self.tiles])).float() / 255
        self._views: list[list[Any]] = []
        with torch.inference_mode():
            for view in range(_VIEWS):
                seen = pixels.flip(*([3] if view & 1 else []), *([2] if view & 2 else [])) if view else pixels
                before, embeddings = _before_the_head(model, seen)
                self._views.append([each.clone() for each in before])
                if not view:
                    self._embeddings = embeddings.numpy().astype(np.float64)

    def train(self, start: Any, learnt: Sequence[int], seed: int) -> Any:
        """A copy of the head `start` that has learnt from these tiles. Each training has as many steps."""
        import torch

        head = deepcopy(start).train()
        for each in head.parameters():
            each.requires_grad_(True)
        head.dfl.requires_grad_(False)
        optimizer = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS, pct_start=0.1)
        random = np.random.default_rng(seed)
        order: list[int] = []
        for _ in range(_STEPS):
            while len(order) < _BATCH:
                order += random.permutation(list(learnt)).tolist()
            batch, order = order[:_BATCH], order[_BATCH:]
            views = random.integers(_VIEWS, size=_BATCH).tolist()
            seen = [
                torch.stack([self._views[view][level][tile] for tile, view in zip(batch, views, strict=True)])
                for level in range(len(self._views[0]))
            ]
            loss, _ = self._loss(head(seen), self._truth(batch, views))
            optimizer.zero_grad()
            loss.sum().backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 10.0)
            optimizer.step()
            schedule.step()
        return head.eval()

    @lru_cache(maxsize=1)  # noqa: B019 - it is the same for all strategies of a seed, and there is one learner
    def first(self, learnt: tuple[int, ...], seed: int) -> Any:
        """As `train`, from the base weights."""
        return self.train(self.base, learnt, seed)

    def look(self, head: Any) -> Looks:
        """What it finds on all tiles."""
        import torch

        with torch.inference_mode():
            outputs = head([level.clone() for level in self._views[0]])[0].numpy()
        return Looks(tuple(self._outcome(*each) for each in enumerate(outputs)), self._embeddings)

    def _truth(self, batch: Sequence[int], views: Sequence[int]) -> dict[str, Any]:
        import torch

        rows, owners = [], []
        for place, (tile, view) in enumerate(zip(batch, views, strict=True)):
            boxes = xyxy_to_xywhn(self.tiles[tile].boxes, TILE, TILE)
            boxes[:, 0] = 1 - boxes[:, 0] if view & 1 else boxes[:, 0]
            boxes[:, 1] = 1 - boxes[:, 1] if view & 2 else boxes[:, 1]
            rows.append(boxes)
            owners += [place] * len(boxes)
        every = torch.from_numpy(np.concatenate(rows)).float()
        return {"batch_idx": torch.tensor(owners).float(), "cls": torch.zeros(len(every)), "bboxes": every}

    def _outcome(self, number: int, output: Any) -> Outcome:
        table = without_duplicates(to_corners(most_confident(output, FLOOR, len(output) - 4)), _OVERLAP, _MOST)
        boxes = np.clip(table[:, :4] * TILE / IMAGE_SIZE, 0, TILE)
        truth = self.tiles[number].boxes
        there = Detections.annotated(TILE, TILE, truth, np.zeros(len(truth)), ("Tree",))
        seen = Detections.annotated(TILE, TILE, boxes, np.zeros(len(boxes)), ("Tree",))
        alike = overlaps(there, seen, np.zeros(0))
        return Outcome(str(number), there.classes, seen.classes, table[:, 4], alike, boxes)


def _before_the_head(model: Any, seen: Any) -> tuple[list[Any], Any]:
    """What the head is given, by level, and the embeddings."""
    made: list[Any] = []
    for layer in model.model[:-1]:
        if layer.f != -1:
            seen = made[layer.f] if isinstance(layer.f, int) else [seen if f == -1 else made[f] for f in layer.f]
        seen = layer(seen)
        made.append(seen)
    return [made[f] for f in model.model[-1].f], made[_FEATURES].mean(dim=(2, 3))


def _seen(tile: Tile) -> Any:
    """(3, IMAGE_SIZE, IMAGE_SIZE) uint8, red first."""
    image = Image.open(io.BytesIO(tile.data)).convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)
