"""The training job killed with SIGKILL and SIGTERM: the next attempt always ends with one good version."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.demo import samples
from shared.digest import sha256_of
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from shared.state import launches
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from shared.state.registry import Registry
from tests.fakes.train_parts import UID, PagedProject, annotation, begin_run, rectangle, served, settings_for

_ENTRY = Path(__file__).parents[1] / "servers" / "train_entry.py"
_ROOT = Path(__file__).parents[2]
_SEED = 20261122


@pytest.fixture(scope="module")
def project() -> PagedProject:
    """Real photographs of trees: 30 annotated tiles."""
    tiles = samples.tiles()
    made = PagedProject(len(tiles), images={f"{number}.jpg": tile.data for number, tile in enumerate(tiles, 1)})
    for number, tile in enumerate(tiles, 1):
        percent = tile.boxes / tile.width * 100
        boxes = [rectangle(x=a, y=b, width=c - a, height=d - b) for a, b, c, d in percent.tolist()]
        made.tasks[number] = {
            "id": number,
            "data": {"image": f"/data/upload/1/{number}.jpg"},
            "annotations": [annotation(number, boxes)],
        }
    return made


class Launched:
    """One process of the job."""

    def __init__(self, settings: Settings, claim: Claim, log: Path, *entry: str) -> None:
        request = {"store": settings.store, "project_uid": UID, "run_id": claim.run_id}
        environ = os.environ | settings.to_environ() | {"TRAIN_REQUEST": json.dumps(request), "PYTHONPATH": str(_ROOT)}
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(_ENTRY), *entry],
                env=environ,
                cwd=log.parent,
                stderr=stderr,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of one event, so far."""
        lines = [json.loads(line) for line in self.log.read_bytes().split(b"\n")[:-1] if line.startswith(b"{")]
        return [line for line in lines if line["event"] == name]

    def wait_for(self, name: str, count: int) -> None:
        """Until an event was logged `count` times, or the process is over."""
        until = time.monotonic() + 300
        while len(self.events(name)) < count and self.process.poll() is None:
            assert time.monotonic() < until, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def end(self) -> int:
        """Exit code."""
        return self.process.wait(timeout=300)


@pytest.fixture
def launch(tmp_path: Path, project: PagedProject) -> Iterator[Callable[..., Launched]]:
    """Starts processes of the job; none outlives the test."""
    with launching(tmp_path, project) as start:
        yield start


@contextmanager
def launching(tmp_path: Path, project: PagedProject) -> Iterator[Callable[..., Launched]]:
    """The project behind HTTP, and what starts jobs for it."""
    started: list[Launched] = []
    with served(project) as web:
        settings = settings_for(web.url, tmp_path, LABELLOOP_BASE_WEIGHTS=samples.base_weights())

        def start(claim: Claim, *entry: str) -> Launched:
            started.append(Launched(settings, claim, tmp_path / f"log-{len(started)}", *entry))
            return started[-1]

        yield start
        for launched in started:
            if launched.process.poll() is None:
                launched.process.kill()
                launched.process.wait()


def next_attempt(store: ObjectStore) -> Claim | None:
    """What the trigger's sweep does with a claim whose job is gone; None if the run had ended."""
    jobs = Jobs(store, UID)
    claim = jobs.read().training
    return jobs.update(launches.next_attempt, claim, lifetime=600, error="the job was killed").held if claim else None


def assert_good(store: ObjectStore, tmp_path: Path, *, runs: int, learnt: bool = True) -> None:
    """One version a run, the newest is served, its files are what its manifest says, and nothing unfinished is left.

    All are promoted, so the five before the newest are kept.

    `learnt`: False for real trainings of a few seconds, which learn so little that the gate may hold the version back.
    """
    record, registry = Jobs(store, UID).read(), Registry(store, UID)
    assert record.training is None
    assert record.last_run is not None
    promoted = record.last_run.outcome == "promoted"
    assert promoted or (record.last_run.outcome == "rejected" and not learnt), record.last_run.message
    versions = registry.versions("label")
    assert [manifest.version for manifest in versions] == list(range(max(1, runs - 5), runs + 1))
    assert len({manifest.run_id for manifest in versions}) == len(versions)
    pointer = registry.pointer("label")
    assert (pointer is not None) == promoted
    assert pointer is None or (pointer.version, pointer.run_id) == (runs, record.last_run.run_id)
    for manifest in versions:
        for entry in manifest.files:
            registry.download_file("label", entry, tmp_path / "verified")


def test_kill_at_any_write(tmp_path: Path, launch: Callable[..., Launched]) -> None:
    """Ten runs, each killed just before or after one write to the store: files, manifest, pointer, and random ones."""
    store = open_store((tmp_path / "store").as_uri())
    dice = random.Random(_SEED)
    named = ("/files/", "/versions/", "pointer.json", "dataset.json")
    moments = [(key, moment) for key in named for moment in ("before", "after")]
    # A run writes at least this often: claim, export, dataset, train, an epoch with its checkpoint …
    moments += [(str(dice.randint(1, 14)), dice.choice(["before", "after"])) for _ in range(10 - len(moments))]
    for runs, (kill_at, moment) in enumerate(moments, 1):
        killed = launch(begin_run(store, epochs=4, val_fraction=0.4), "toy", kill_at, moment)
        assert killed.end() == -signal.SIGKILL, killed.log.read_text()
        again = next_attempt(store)
        assert again
        healed = launch(again, "toy", "0", "after")
        assert healed.end() == 0, healed.log.read_text()
        assert_good(store, tmp_path, runs=runs)
    assert not [key for key in store.list(f"runs/{UID}/") if "/checkpoints/" in key]


def outlined(project: PagedProject) -> PagedProject:
    """The same trees as diamonds, for a control whose weights have to be started from those of another task."""
    config = (
        '<View><Image name="img" value="$image"/><PolygonLabels name="label" toName="img"><Label value="Tree"/>'
        "</PolygonLabels></View>"
    )
    made = replace(project, config=config, tasks={})
    for number, task in project.tasks.items():
        regions = []
        for place, one in enumerate(task["annotations"][0]["result"]):
            box = one["value"]
            x, y, across, down = box["x"], box["y"], box["width"] / 2, box["height"] / 2
            points = [[x + across, y], [x + 2 * across, y + down], [x + across, y + 2 * down], [x, y + down]]
            value = {"points": points, "polygonlabels": ["Tree"]}
            regions.append({"id": str(place), "from_name": "label", "type": "polygonlabels", "value": value})
        made.tasks[number] = task | {"annotations": [annotation(number, regions)]}
    return made


def test_kill_real_training(tmp_path: Path, project: PagedProject) -> None:
    """A real training killed three times at random moments goes on where it was each time.

    It began with the weights of another task, which are transferred once.
    """
    store = open_store((tmp_path / "store").as_uri())
    dice = random.Random(_SEED)
    claim: Claim | None = begin_run(store, epochs=5, image_size=64, batch=8)
    trained: list[int] = []
    with launching(tmp_path, outlined(project)) as launch:
        for _ in range(3):
            assert claim
            killed = launch(claim, "real", "0", "after")
            killed.wait_for("epoch", 1)
            time.sleep(dice.uniform(0, 0.5))  # a moment inside of an epoch, not one that an event names
            killed.process.kill()
            assert killed.end() == -signal.SIGKILL, killed.log.read_text()
            epochs = [event["epoch"] for event in killed.events("epoch")]
            resumed = [event["epoch"] for event in killed.events("resumed")]
            assert epochs[0] == (resumed[0] + 1 if resumed else 1)
            assert bool(resumed) == bool(trained)
            trained += epochs
            claim = next_attempt(store)
        assert claim
        last = launch(claim, "real", "0", "after")
        assert last.end() == 0, last.log.read_text()
    trained += [event["epoch"] for event in last.events("epoch")]
    assert sorted(set(trained)) == list(range(1, 6))
    assert len(trained) <= 5 + 3, "more than one epoch was lost by a kill"
    assert_good(store, tmp_path, runs=1, learnt=False)
    manifest = Registry(store, UID).manifest("label", 1)
    assert (manifest.yolo_task, manifest.lineage["base"]) == ("segment", "yolov8n-seg from ABD.pt")
    assert manifest.lineage["base_sha256"] == sha256_of(samples.base_weights())
    assert "mAP50-95" in manifest.metrics


def test_sigterm_keeps_the_newest_epoch(tmp_path: Path, launch: Callable[..., Launched]) -> None:
    """A machine that is taken away: the claim expires at once, the next attempt goes on."""
    store = open_store((tmp_path / "store").as_uri())
    first = launch(begin_run(store, epochs=4, image_size=64, batch=8), "real", "0", "after")
    first.wait_for("epoch", 2)
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == 143, first.log.read_text()
    claim = Jobs(store, UID).read().training
    assert claim is not None
    assert claim.expires_at <= store.now()
    assert "SIGTERM" in (claim.error or "")
    again = next_attempt(store)
    assert again
    second = launch(again, "real", "0", "after")
    assert second.end() == 0, second.log.read_text()
    [resumed] = second.events("resumed")
    assert resumed["epoch"] == first.events("epoch")[-1]["epoch"]
    assert_good(store, tmp_path, runs=1, learnt=False)


def test_second_copy_has_nothing_to_do(tmp_path: Path, launch: Callable[..., Launched]) -> None:
    """AWS Batch may start a job twice."""
    store = open_store((tmp_path / "store").as_uri())
    claim = begin_run(store, epochs=3)
    copies = [launch(claim, "toy", "0", "after") for _ in range(2)]
    assert [copy.end() for copy in copies] == [0, 0]
    assert sorted(len(copy.events("nothing_to_do")) for copy in copies) == [0, 1]
    assert_good(store, tmp_path, runs=1)
