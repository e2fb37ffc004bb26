"""What a prelabelling reaches, beside the bare network on the same images: `python -m bench.prelabel --json FILE`.

The job itself, in this process, with a model of YOLOv8s's size and photographs of 1280×720 pixels that are 50 ms away.
Label Studio is a list in memory, since it sets the pace where it is slower than the model (docs/prelabel.md).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.predict_parts import LABEL_CONFIGS, UID, image_server, photographs, publish, write_json
from bench.sample_model import make_model
from bench.table import Row, as_json, show
from bench.yardsticks import floor, yardstick
from infra.local.processes import LOOPBACK
from jobs.prelabel.__main__ import _build
from jobs.prelabel.ending import DONE
from jobs.prelabel.ports import WHOLE, Page, Part
from jobs.prelabel.run import run
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters, Task
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from shared.state import claims, jobs_fields
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from shared.state.runs import TrainRequest
from shared.yolo.environment import prediction_environ

_FILES, _TASKS, _PAGE = 32, 320, 250


@dataclass(slots=True)
class Tasks:
    """A `jobs.prelabel.ports.Target` that answers at once."""

    urls: Sequence[str]
    stored: int = 0
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # from the first page to the last prediction

    def state(self) -> ProjectState:
        created = datetime.fromtimestamp(1700000000, UTC)
        return ProjectState(ProjectCounters(id=1, label_config=LABEL_CONFIGS["detect"], created_at=created), created)

    def waiting(self, after: int) -> int:
        return len(self.urls) - after

    def pages(self, version: str, after: int, part: Part = WHOLE, *, renewing: bool = False) -> Iterator[Page]:  # noqa: ARG002
        self.began = time.perf_counter()
        tasks = [Task(id=number, data={"image": url}) for number, url in enumerate(self.urls, 1)]
        for first in range(after, len(tasks), _PAGE):
            page = tasks[first : first + _PAGE]
            yield Page(page, first + len(page), len(page))

    def store(self, predictions: Sequence[dict[str, Any]], *, renewing: bool = False) -> int:  # noqa: ARG002
        self.stored += len(predictions)
        return len(predictions)

    def show(self, version: str) -> bool:  # noqa: ARG002
        self.seconds = time.perf_counter() - self.began
        return True

    def sampling(self) -> str:
        return "Sequential sampling"

    def hand_out(self, sampling: str) -> None: ...

    def prune(self, keep: Collection[str], controls: Sequence[str]) -> int:  # noqa: ARG002
        return 0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="each of the job and the network in turn")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    files = photographs(_FILES)
    with tempfile.TemporaryDirectory() as scratch, image_server(files) as images:
        folder = Path(scratch)
        model = make_model(folder, files[:4])
        store = open_store((folder / "store").as_uri())
        publish(store, model.graph)
        write_project(store, UID, label_config=LABEL_CONFIGS["detect"], push=True)
        os.environ.update(prediction_environ(folder / "cache"))
        urls = [f"{images}/50/{number % _FILES}.jpg" for number in range(_TASKS)]
        many = [files[number % _FILES] for number in range(_TASKS)]
        with yardstick(floor, model.graph, files) as bare:
            rounds = [(_predict(store, folder, urls, number), bare.seconds(many)) for number in range(options.rounds)]
    ratio, mine, other = sorted((two / one, _TASKS / one, _TASKS / two) for one, two in rounds)[len(rounds) // 2]
    measure = f"{_TASKS} tasks, images 50 ms away"
    rows = [Row(measure, f"{mine:.1f} tasks/s", f"{other:.1f} tasks/s, the bare network", ratio, "≥", 0.9, "×")]
    show(rows)
    if options.json:
        write_json(options.json, as_json(rows))


def _predict(store: ObjectStore, folder: Path, urls: Sequence[str], number: int) -> float:
    """Seconds for all tasks; loading the model is not counted."""
    settings = Settings.from_environ(
        {
            "LABEL_STUDIO_URL": "http://label-studio.test",
            "LABEL_STUDIO_API_KEY": "0" * 40,
            "LABELLOOP_CACHE_DIR": str(folder / "cache"),
            "LABELLOOP_ALLOWED_PRIVATE_HOSTS": LOOPBACK,
        }
    )
    run_id = f"run-{number}"
    Jobs(store, UID, prelabelling=True).update(claims.take, run_id, lifetime=600, kind="prelabel", forced=True)
    request = TrainRequest(store=store.url, project_uid=UID, run_id=run_id, kind="prelabel")
    target = Tasks(urls)
    assert run(replace(_build(settings, request, store), target=target), run_id, nonce="n") == DONE
    assert target.stored == len(urls)
    Jobs(store, UID).update(jobs_fields.look_again)  # the next round predicts all of them again
    return target.seconds


if __name__ == "__main__":
    main()
