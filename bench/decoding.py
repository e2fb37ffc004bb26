"""What JPEG files decoded at a reduced scale save and change: `python -m bench.decoding [--weights FILE]`.

Boxes that a model finds in a picture decoded in all pixels are looked for among those of the reduced one, and the other
way round. The yardstick is what a small change does: the picture as the model sees it, saved as JPEG of quality 95.
Photographs of cameras cannot be had here: those of 4000 pixels are smaller ones, enlarged, with noise.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from bench.predict_parts import photographs, write_json
from infra.demo.samples import base_weights, tiles
from shared.geometry.detections import Detections
from shared.inference.engine import Pixels
from shared.inference.graph import read_graph
from shared.inference.network import Network
from shared.inference.openvino_engine import OpenVinoEngine
from shared.inference.outputs import Question
from shared.media.decode import decode, decode_for
from tests.samples.served_graphs import base_graph

_SHOWN = 0.25
"""Confidence from which boxes are shown."""
_SURE = 0.4
"""Confidence of boxes that have to be found again: one on the edge of being shown may go either way."""
_ALIKE = (0.5, 0.8)
"""Overlaps (IoU) from which two boxes of a class are the same."""
_ROUNDS = 15
_NOISE = 4.0  # of a camera, standard deviation


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.decoding", description=__doc__)
    parser.add_argument("--weights", type=Path, action="append", default=[], help="of a detection model, as well")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, weights in enumerate([base_weights(), *options.weights]):
            graph = base_graph(Path(folder) / str(number), weights.resolve())
            for name, (side, files) in _pictures().items():
                report[f"{weights.name}, {name} → {side}"] = _changed(_network(graph, side), list(files()))
        network = _network(graph, 640)
        for name, file in {"1280×720": photographs(1)[0], "4000×2250": _enlarged(photographs(1)[0], 4000)}.items():
            report[f"milliseconds, {name} → 640"] = _taken(network, file)
    for name, figures in report.items():
        print(f"{name:60} {figures}")
    if options.json:
        write_json(options.json, report)


def _pictures() -> dict[str, tuple[int, Callable[[], Iterator[bytes]]]]:
    """Name → pixels that the model sees of the longer side, and JPEG files of at least twice as many."""
    from ultralytics.utils import ASSETS

    shipped = [path.read_bytes() for path in sorted(ASSETS.glob("*.jpg"))]
    aerial = [tile.data for tile in tiles()]
    return {
        "photographs of ultralytics": (320, lambda: _turned(shipped)),
        "photographs of ultralytics, 4000": (640, lambda: _turned([_enlarged(file, 4000) for file in shipped])),
        "1280×720 pieces of photographs": (640, lambda: iter(photographs(24))),
        "the demo's tiles, 640": (256, lambda: (_enlarged(file, 640) for file in aerial)),
        "the demo's tiles, 2000": (256, lambda: (_enlarged(file, 2000) for file in aerial[::2])),
    }


def _turned(files: Sequence[bytes]) -> Iterator[bytes]:
    """Each as it is, then mirrored, upside down, and both."""
    for file in files:
        yield file
        for how in (1, 0, -1):
            yield _written(np.asarray(cv2.flip(decode(file, 10**8), how), dtype=np.uint8))


def _enlarged(file: bytes, longest: int) -> bytes:
    pixels = decode(file, 10**8)
    times = longest / max(pixels.shape)
    large = cv2.resize(pixels, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, _NOISE, large.shape)
    return _written(np.clip(large + noise, 0, 255).astype(np.uint8))


def _written(pixels: Pixels) -> bytes:
    """As cameras do: with half of the colours' pixels."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(out, "JPEG", quality=92, subsampling=2)
    return out.getvalue()


def _network(graph: Path, side: int) -> Network:
    engine = OpenVinoEngine(graph, threads=1, streams=1, float32=True, cache_dir=None)
    return Network(engine, read_graph(graph), image_size=side)


def _changed(network: Network, files: Sequence[bytes]) -> dict[str, Any]:
    """Recall and precision at each overlap, of the reduced pictures' boxes and of the yardstick's."""
    counts = {name: np.zeros((len(_ALIKE), 2)) for name in ("reduced", "yardstick")}
    sure = {name: np.zeros(2) for name in counts}
    for file in files:
        full, whole = decode_for(file, 10**8, None)
        small, _ = decode_for(file, 10**8, network.image_size)
        assert small.size < full.size, "large enough to be reduced"
        seen = network.fit(full)
        saved = cv2.imdecode(cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR)
        truth = _found(network, seen, whole)
        ways = {"reduced": network.fit(small, whole), "yardstick": np.asarray(saved, dtype=np.uint8)}
        for name, shown in ways.items():
            found = _found(network, shown, whole)
            sure[name] += [int((each.scores >= _SURE).sum()) for each in (truth, found)]
            for row, alike in zip(counts[name], _ALIKE, strict=True):
                row += [_in(truth, found, alike), _in(found, truth, alike)]
    parts = {name: (counts[name] / np.maximum(sure[name], 1)).round(3) for name in counts}
    return {"boxes": int(sure["reduced"][0])} | {
        f"{name} at {alike:g}": tuple(row.tolist())  # recall, precision
        for name in counts
        for alike, row in zip(_ALIKE, parts[name], strict=True)
    }


def _found(network: Network, seen: Pixels, whole: tuple[int, int]) -> Detections:
    (found,) = network.run([Question(seen, whole, _SHOWN)])
    return found if isinstance(found, Detections) else found()


def _in(some: Detections, others: Detections, alike: float) -> int:
    """How many sure boxes of `some` are among `others`."""
    sure = some.only(some.scores >= _SURE)
    corner = np.maximum(sure.xyxy[:, None, :2], others.xyxy[None, :, :2])
    sides = np.clip(np.minimum(sure.xyxy[:, None, 2:], others.xyxy[None, :, 2:]) - corner, 0, None)
    shared = sides.prod(axis=2)
    areas = [(boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).prod(axis=1) for boxes in (sure, others)]
    same = shared >= alike * (areas[0][:, None] + areas[1][None] - shared)
    return int((same & (sure.classes[:, None] == others.classes[None])).any(axis=1).sum())


def _taken(network: Network, file: bytes) -> dict[str, float]:
    """Median milliseconds from the file to what the model sees; both in turns."""
    times: dict[str, list[float]] = {"full": [], "reduced": []}
    for _ in range(_ROUNDS):
        for name, side in (("full", None), ("reduced", network.image_size)):
            started = time.perf_counter()
            pixels, whole = decode_for(file, 10**8, side)
            network.fit(pixels, whole)
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: round(statistics.median(taken), 1) for name, taken in times.items()}


if __name__ == "__main__":
    main()
