"""What tiles gain on small objects, and what they cost: `python -m bench.tiles --json FILE`.

The gain is that of `make demo CONTROL=tiles`, but at an image size of 640: the same steps on the left half of an aerial
photograph, with tiles and without, measured on its right half. The costs are of that photograph and of one of
12,000×9,000 pixels made of copies of it, each in a process of its own: to cut and write it for a training, and to be
asked about it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.memory import peak_memory
from bench.table import Row, as_json, show
from infra.demo.samples import photograph
from infra.demo.tiles import SIDE, compare
from shared.geometry.tiles import Tiling, windows

HUGE = (12_000, 9_000)
_HUGE_SIDE = 1280  # pixels of a tile there
_MORE = 200.0  # MB


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.tiles", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--steps", type=int, default=52, help="of each training")
    parser.add_argument("--image-size", type=int, default=640, help="of both networks, in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of both trainings")
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "GRAPH", "PICTURE"), help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, default=SIDE, help="of a tile, in pixels")
    asked = parser.parse_args()
    if asked.one:
        what, graph, picture = asked.one
        print(json.dumps(_MEASURES[what](Path(graph), Path(picture), asked.side)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        found = compare(
            folder / "trainings",
            steps=asked.steps,
            side=asked.side,
            image_size=asked.image_size,
            seed=asked.seed,
            tell=print,
        )
        rows = [
            Row(
                f"mAP50 of the right half at {asked.image_size}, {found.tiled.steps} steps",
                f"{found.tiled.metrics.get('mAP50', 0.0):.3f} with tiles",
                f"{found.whole.metrics.get('mAP50', 0.0):.3f} without",
                found.ratio,
                "≥",
                1.5,
                "×",
            )
        ]
        for name, size, side in (("photograph", None, asked.side), ("huge", HUGE, _HUGE_SIDE)):
            picture = _picture(folder / f"{name}.jpg", size)
            rows += _costs(picture, found.whole.graph, found.tiled.graph, side)
    show(rows)
    if asked.json:
        asked.json.write_text(json.dumps(as_json(rows), indent=1))


def _costs(picture: Path, whole: Path, tiled: Path, side: int) -> list[Row]:
    from PIL import Image

    with Image.open(picture) as opened:
        width, height = opened.size
    called, count = f"{width}×{height}", len(windows(width, height, Tiling(side, side // 5)))
    plain, asked, cut = (_measured(*how, picture, side) for how in (("ask", whole), ("ask", tiled), ("cut", tiled)))
    pixels = f"{width * height * 3 / 1e6:.0f} MB of pixels"

    def memory(what: str, found: dict[str, float], goal: float) -> Row:
        more = found["megabytes"] - plain["megabytes"]
        return Row(f"memory {what}", f"{found['megabytes']:.0f} MB", pixels, more, "≤", goal, "MB more than whole")

    times = asked["seconds"] / plain["seconds"]
    full = width * height * 3 / 1e6
    return [
        Row(
            f"{called} asked about in {count} tiles of {side}",
            f"{asked['seconds']:.2f} s",
            f"{plain['seconds']:.2f} s, whole",
            times,
            "≤",
            count + 1,
            "×",
        ),
        memory("of that", asked, _MORE + full),
        Row(
            f"{called} cut for a training",
            f"{cut['seconds']:.1f} s",
            f"{cut['tiles']:.0f} tiles",
            cut["seconds"],
            "≤",
            60,
            "s",
        ),
        memory("of that", cut, _MORE + 2 * full),
    ]


def _measured(what: str, graph: Path, picture: Path, side: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.tiles", "--side", str(side), "--one", what, str(graph), str(picture)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def _ask(graph: Path, picture: Path, side: int) -> dict[str, float]:
    """As predict does it, with the engine loaded before."""
    from dataclasses import replace

    from shared.cores import usable_cores
    from shared.inference.device import choose_device, open_engine
    from shared.inference.graph import read_graph
    from shared.inference.network import Network
    from shared.media.decode import decode_for

    known = read_graph(graph)
    if known.tiling:
        known = replace(known, tiling=Tiling(side, side // 5))
    device = choose_device("cpu", threads=usable_cores(), float32=True)
    network = Network(open_engine(graph, device), known)
    network.engine.warm_up(network.image_size)
    data = picture.read_bytes()
    started = time.perf_counter()
    pixels, whole = decode_for(data, 10**9, network.needs)
    found = network.find(pixels, 0.25, whole=whole)
    return {"seconds": time.perf_counter() - started, "megabytes": peak_memory() / 1e6, "found": len(found)}


def _cut(_: Path, picture: Path, side: int) -> dict[str, float]:
    """As the job does it, of a picture with a thousand objects."""
    import numpy as np
    from PIL import Image

    from infra.demo.controls import DEMOS
    from infra.demo.regions import annotated
    from infra.demo.samples import Sample
    from jobs.train.data.files import ImageFiles
    from jobs.train.data.samples import Views, image_samples
    from jobs.train.data.snapshot import SnapshotTask
    from shared.geometry.detections import Detections

    class File:
        def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:  # noqa: ARG002
            return picture.read_bytes()

    with Image.open(picture) as opened:
        width, height = opened.size
    corners = np.random.default_rng(0).uniform(0, (width - 40, height - 40), (1000, 2))
    drawn = Detections.annotated(width, height, np.hstack([corners, corners + 40]), np.zeros(1000), ("Tree",))
    control = DEMOS["detect"].control
    regions = annotated(Sample("x", ".jpg", b"", (drawn,)), control)
    task = SnapshotTask(id=1, annotation=1, updated_at=None, data={control.value: "x"}, regions=regions)
    with tempfile.TemporaryDirectory() as made:
        images = ImageFiles(File(), Path(made) / "pictures", max_pixels=10**9)
        started = time.perf_counter()
        samples = image_samples(task, control, images, Path(made), Views(Tiling(side, side // 5)))
        return {"seconds": time.perf_counter() - started, "megabytes": peak_memory() / 1e6, "tiles": len(samples) - 1}


_MEASURES = {"ask": _ask, "cut": _cut}


def _picture(path: Path, size: tuple[int, int] | None) -> Path:
    """The photograph as JPEG; copies of it side by side up to `size`."""
    from PIL import Image

    image, _ = photograph()
    made = image
    if size:
        made = Image.new("RGB", size)
        for x in range(0, size[0], image.width):
            for y in range(0, size[1], image.height):
                made.paste(image, (x, y))
    made.save(path, quality=90)
    return path


if __name__ == "__main__":
    main()
