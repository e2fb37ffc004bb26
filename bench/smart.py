"""How long an annotator waits for a click: `python -m bench.smart`; also a part of bench.predict.

The first click on a picture fetches it and asks the model; those after it find what the model sees there kept.
"""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.predict_parts import Function, image_server, photographs, predict_function, publish, wait_for
from bench.sample_model import make_model
from bench.table import Row, show
from shared.objectstore import open_store
from shared.yolo_task import YoloTask

_PICTURES = 24
_CLICKS = 10  # on each picture
_SHAPES: dict[YoloTask, str] = {"detect": "boxes", "segment": "masks"}


def clicks(function: Function, urls: list[str], yolo_task: YoloTask = "detect") -> Iterator[Row]:
    """In turns: a prediction of one picture, then clicks on another one that nobody has clicked before."""
    predicted: list[float] = []
    first: list[float] = []
    later: list[float] = []
    for asked, clicked in zip(urls[::2], urls[1::2], strict=False):
        predicted.append(function.predict([asked], yolo_task=yolo_task)[0])
        for click in range(_CLICKS):
            seconds, _ = function.predict([clicked], _click(click), yolo_task)
            (later if click else first).append(seconds)
    one, opened, again = (statistics.median(times) * 1000 for times in (predicted, first, later))
    beside = f"{one:.0f} ms, one prediction"
    shape = _SHAPES[yolo_task]
    yield Row(f"first click on a picture ({shape}), p50", f"{opened:.0f} ms", beside, opened / one, "≤", 1.3, "×")
    yield Row(f"later clicks on it ({shape}), p50", f"{again:.0f} ms", "", again, "≤", 60.0, "ms")


def _click(number: int) -> dict[str, object]:
    """A point somewhere in the picture."""
    value = {"x": 5.0 + 9.0 * number, "y": 50.0, "width": 0.3, "keypointlabels": ["Tree"]}
    item = {"id": "p", "type": "keypointlabels", "from_name": "label_click", "to_name": "image", "is_positive": True}
    return {"result": [item | {"value": value}]}


def rows(urls: list[str], files: list[bytes], yolo_task: YoloTask) -> Iterator[Row]:
    """Clicks with a model and a function of their own. `urls`: of `files`, photographs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = make_model(folder, files[:4], yolo_task)
        publish(open_store((folder / "store").as_uri()), model.graph, yolo_task)
        with predict_function(folder) as function:
            wait_for(function.port, "/health")
            function.predict(urls[:1], yolo_task=yolo_task)
            yield from clicks(function, urls[1:], yolo_task)


def main() -> None:
    """Measure and print."""
    files = photographs(_PICTURES)
    with image_server(files) as images:
        urls = [f"{images}/0/{number}.jpg" for number in range(_PICTURES)]
        show([row for yolo_task in _SHAPES for row in rows(urls, files, yolo_task)])


if __name__ == "__main__":
    main()
