"""retrain: a toy trains a version again; what a person is told of it, and of what is not as then."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra.cli.retrain import Retrained, render_retrained
from infra.datasets.repeating import Repeated, repeat
from jobs.train.data.fetching import Fetching
from jobs.train.data.image_cache import ImageCache
from jobs.train.ending import DONE
from shared.errors import LabelloopError
from shared.evolve import evolve
from shared.media.fetch import Fetched, Version
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.versions import Manifest
from tests.fakes.train_parts import UID, jpeg, settings_for
from tests.fakes.train_world import World


class Pictures:
    """A source of images, of which one may be another one now."""

    changed = ""

    def fetch_newer(self, value: object, *, task_id: int | None, deadline: float, known: Version | None) -> Fetched:
        return Fetched(jpeg(seed=int(value == self.changed)), None)


class Again:
    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.world = World(store, folder)
        self.pictures = Pictures()
        self.folder = folder
        self.said: list[str] = []
        self.times = 0

    def repeat(self, version: int, **lineage: Any) -> Repeated:
        cache = ImageCache(self.pictures, (), scope="")
        manifest = self.manifest(version)
        self.times += 1
        scratch = self.folder / "scratch" / str(self.times)
        scratch.mkdir(parents=True)
        return repeat(
            self.world.store,
            UID,
            evolve(manifest, lineage=manifest.lineage | lineage),
            Fetching(cache, cache, str, None),
            self.world.trainer,
            settings_for("http://label-studio.test", self.folder),
            scratch,
            tell=self.said.append,
        )

    def manifest(self, version: int) -> Manifest:
        return self.world.registry.manifest("label", version)


@pytest.fixture
def again(file_store: ObjectStore, tmp_path: Path) -> Again:
    return Again(file_store, tmp_path)


def told(manifest: Manifest, found: Repeated) -> str:
    console = Console(width=100, record=True, file=sys.stderr)
    console.print(render_retrained(Retrained(manifest, **as_read(found))))
    return console.export_text()


def as_read(found: Repeated) -> Mapping[str, Any]:
    said = json.loads(json.dumps(found.as_json()))
    return {"metrics": said["metrics"], "epochs": said["epochs"], "unlike": tuple(said["unlike"])}


def test_the_same_again_and_nothing_published(again: Again) -> None:
    assert again.world.new_run() == DONE
    before = sorted(again.world.store.list(""))
    found = again.repeat(1)
    assert found.metrics == again.manifest(1).metrics
    assert (found.epochs, found.unlike) == (4, ())
    assert sorted(again.world.store.list("")) == before
    assert "epoch 4 of 4" in again.said
    assert "The same numbers, to the last digit." in told(again.manifest(1), found)


def test_what_is_not_as_then_is_said(again: Again) -> None:
    again.world.new_run()
    again.pictures.changed = "x5"
    again.world.trainer.score = 0.3
    found = again.repeat(1, attempt=2, packages={"torch": "1.0"}, epochs=9)
    text = " ".join(told(again.manifest(1), found).split())
    assert "mAP50-95 is 0.200 lower." in text
    for part in (
        "Not as then: 1 of 39 tasks are missing (1 changed), task 5: x5 has SHA-256",
        "torch 1.0 then,",
        "9 epochs then, 4 now",
        "then it took 2 attempts",
        "Nothing was published",
    ):
        assert part in text
    line = next(line for line in told(again.manifest(1), found).splitlines() if line.startswith("mAP50-95"))
    assert line.split() == ["mAP50-95", "0.500", "0.300", "-0.200"]


def test_it_begins_with_the_weights_that_the_version_began_with(again: Again) -> None:
    again.world.new_run()
    again.world.trainer.score = 0.7
    again.world.new_run()
    assert again.repeat(2).metrics["mAP50-95"] == pytest.approx(0.7)
    with pytest.raises(LabelloopError, match="the store has v1 of"):
        again.repeat(2, base_sha256="0" * 64)
    again.world.store.delete(keys.manifest(UID, "label", 1))
    again.world.registry = type(again.world.registry)(again.world.store, UID)
    with pytest.raises(LabelloopError, match="v2 began with the weights of v1, which is not in the store any more"):
        again.repeat(2)


def test_weights_that_were_averaged_are_averaged_again(again: Again) -> None:
    again.world.new_run()
    again.world.trainer.mean_score = 0.8
    again.world.new_run()
    assert again.manifest(2).lineage["mean_with"] == "v1"
    assert again.repeat(2).metrics == again.manifest(2).metrics
    assert again.repeat(1).metrics["mAP50-95"] == pytest.approx(0.5)


def test_pictures_are_cut_as_then_whatever_is_set_now(again: Again) -> None:
    assert again.world.new_run(tiles="64") == DONE
    tiling = again.world.trainer.tilings[-1]
    assert tiling is not None
    assert tiling.side == 64
    again.repeat(again.world.served() or 0)
    assert again.world.trainer.tilings[-1] == tiling
