"""Makes the weights that all plays start from: they know trees, but of other photographs.

ultralytics' trainer without its validations and checkpoints, on tiles that nobody annotates in the plays.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.demo.samples import Tile, base_weights
from jobs.train.yolo.arguments import schedule
from shared.geometry.detections import xyxy_to_xywhn

_EPOCHS = 35
_BATCH = 8
_AVERAGED = 0.93  # part of the averaged weights that a step keeps; ultralytics' own average follows every step at first


def make_base(tiles: Sequence[Tile], image_size: int, weights: Path) -> None:
    """Fine-tune the sample weights on these tiles, into `weights`: a minute and a half of one core."""
    import torch
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Short(DetectionTrainer):
        ema: Any

        def _setup_train(self) -> None:
            super()._setup_train()
            self.ema.decay = lambda step: min(_AVERAGED, step / (step + 10))

        def validate(self) -> Any:
            return {}, 0.0

        def save_model(self) -> bool:
            return False

        def save_metrics(self, metrics: Any) -> None: ...

        def final_eval(self) -> None: ...

    with tempfile.TemporaryDirectory() as scratch:
        told = {
            "model": str(base_weights()), "data": str(_dataset(tiles, Path(scratch))), "epochs": _EPOCHS,
            "imgsz": image_size, "batch": _BATCH, "nbs": _BATCH, "seed": 0, "device": "cpu", "workers": 0,
            "plots": False, "val": False, "verbose": False, "amp": False, "save_dir": f"{scratch}/training",
            "exist_ok": True, **schedule(_EPOCHS),
        }  # fmt: skip
        trainer = Short(overrides=told)
        trainer.train()
        trainer.ema.ema.criterion = None
        partial = Path(scratch) / "base.pt"
        torch.save({"model": trainer.ema.ema, "train_args": {}}, partial)
        shutil.copy(partial, weights)


def _dataset(tiles: Sequence[Tile], folder: Path) -> Path:
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number, tile in enumerate(tiles):
        (folder / "images" / f"{number}.png").write_bytes(tile.data)
        rows = xyxy_to_xywhn(tile.boxes, tile.width, tile.height).tolist()
        lines = "".join(f"0 {' '.join(f'{value:.6f}' for value in row)}\n" for row in rows)
        (folder / "labels" / f"{number}.txt").write_text(lines)
    described = {"path": str(folder), "train": "images", "val": "images", "names": ["Tree"]}
    (folder / "data.yaml").write_text(json.dumps(described))
    return folder / "data.yaml"
