"""How much sooner a processor learns in bfloat16: `python -m bench.train_steps --json FILE`.

One step is the network, its loss and the gradients for one batch, with ultralytics' own code and random weights. Each
network takes steps in turns, in float32 and as `use_bfloat16` sets it. What models so trained find is compared by
`python -m bench.labour.few`, with `--set LABELLOOP_PRECISION=float32` and without.
"""

import argparse
import copy
import json
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from bench.table import show_sections
from jobs.train.yolo.machine import use_bfloat16
from shared.cores import usable_cores


class Learnt(NamedTuple):
    """A network and the images of its steps."""

    name: str  # of a yaml of ultralytics
    side: int  # pixels
    batch: int  # images


LEARNT = (
    Learnt("yolov8s", 640, 4),
    Learnt("yolo11n", 320, 4),
    Learnt("yolo26n", 320, 4),
    Learnt("yolov8n-seg", 320, 4),
    Learnt("yolov8n-obb", 320, 4),
    Learnt("yolov8n-pose", 320, 4),
    Learnt("yolov8n-cls", 224, 8),
)
_OBJECTS = 10  # an image
_POINTS = 17
_WARM_UP = 2  # steps


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.train_steps", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--steps", type=int, default=5, help="of each network and way; medians are told")
    parser.add_argument("--threads", type=int, default=usable_cores())
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(asked.threads)
    figures = {f"{one.name}, {one.batch} × {one.side} pixels": _measured(one, asked.steps) for one in LEARNT}
    show_sections(figures)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


def _measured(learnt: Learnt, steps: int) -> dict[str, float]:
    import torch
    from ultralytics.cfg import get_cfg
    from ultralytics.models import YOLO

    torch.manual_seed(0)
    yolo: Any = YOLO(f"{learnt.name}.yaml", verbose=False)
    exact = yolo.model.train()
    exact.args = get_cfg()
    fast = copy.deepcopy(exact)
    use_bfloat16(SimpleNamespace(device=torch.device("cpu"), model=fast, ema=SimpleNamespace(ema=fast)))
    batch = _batch(learnt)
    seconds: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for step in range(steps + _WARM_UP):
        for way, network in (("float32", exact), ("bfloat16", fast)):
            started = time.perf_counter()
            loss, _ = network(dict(batch))
            loss.sum().backward()
            network.zero_grad()
            if step >= _WARM_UP:
                seconds[way].append(time.perf_counter() - started)
    medians = {way: statistics.median(of_way) for way, of_way in seconds.items()}
    ratio = medians["float32"] / medians["bfloat16"]
    return {f"{way}, ms": 1000 * value for way, value in medians.items()} | {"times as fast": ratio}


def _batch(learnt: Learnt) -> dict[str, Any]:
    """Images of noise with objects anywhere, as ultralytics' datasets give them."""
    import torch

    images, objects = learnt.batch, learnt.batch * _OBJECTS
    boxes = torch.rand(objects, 4) * 0.3 + 0.3
    _, _, task = learnt.name.partition("-")
    return {
        "img": torch.rand(images, 3, learnt.side, learnt.side),
        "batch_idx": torch.arange(images).repeat_interleave(_OBJECTS).float(),
        "cls": torch.zeros(images).long() if task == "cls" else torch.zeros(objects, 1),
        "bboxes": torch.cat([boxes, torch.rand(objects, 1)], dim=1) if task == "obb" else boxes,
        "keypoints": torch.rand(objects, _POINTS, 3),
        "masks": torch.zeros(images, learnt.side // 4, learnt.side // 4),
    }


if __name__ == "__main__":
    main()
