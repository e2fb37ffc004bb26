"""Whether a run cuts pictures into tiles is decided once, and said in the manifest."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.train.control_dataset import Decided
from jobs.train.ending import DONE, INTERRUPTED
from shared.geometry.tiles import Tiling
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.versions import Tiles
from tests.fakes.train_parts import CONFIG, UID, annotation, rectangle
from tests.fakes.train_world import World

SMALL = rectangle(x=10, y=10, width=0.5, height=0.5) | {"original_width": 4000, "original_height": 4000}


@pytest.fixture
def world(file_store: ObjectStore, tmp_path: Path) -> World:
    """Objects of 20 pixels in pictures of 4000: of 3.2 pixels at the model's input."""
    made = World(file_store, tmp_path)
    made.studio.all = [replace(task, annotations=(annotation(task.id, [SMALL]),)) for task in made.studio.all]
    return made


def test_small_objects_are_shown_in_tiles(world: World) -> None:
    assert world.new_run() == DONE
    manifest = world.registry.manifest("label", 1)
    assert manifest.tiling == Tiles(side=384, overlap=38)
    assert world.trainer.tilings == [Tiling(384, 38)], "the graph says it too"
    kept = world.store.get(keys.tiles(UID, world.claim.run_id, "label"))
    assert kept is not None
    assert json.loads(kept.data) == {"tiling": {"side": 384, "overlap": 38}, "median": 3.2, "objects": 25}


def test_what_was_decided_stays_for_all_attempts(world: World) -> None:
    def fails(number: int) -> None:
        raise OSError("the machine is gone")

    world.trainer.on_epoch = [fails]
    assert world.new_run() == INTERRUPTED
    key = keys.tiles(UID, world.claim.run_id, "label")
    world.store.put(key, Decided(tiling=Tiles(side=512, overlap=64)).to_json())  # as an older labelloop decided
    world.trainer.on_epoch = []
    assert world.next_attempt() == DONE
    assert world.registry.manifest("label", 1).tiling == Tiles(side=512, overlap=64)


def test_a_version_with_tiles_is_followed_by_one_though_objects_are_a_little_larger_now(world: World) -> None:
    def drawn(percent: float) -> None:
        box = rectangle(x=10, y=10, width=percent, height=percent) | {"original_width": 4000, "original_height": 4000}
        world.studio.all = [replace(task, annotations=(annotation(task.id, [box]),)) for task in world.studio.all]

    drawn(2.6)  # 16.6 pixels at the model's input
    assert world.new_run() == DONE
    assert world.registry.manifest("label", 1).tiling is None
    drawn(2.4)  # 15.4
    assert world.new_run() == DONE
    assert world.registry.manifest("label", 2).tiling
    drawn(2.6)
    assert world.new_run() == DONE
    assert world.registry.manifest("label", 3).tiling


@pytest.mark.parametrize(
    ("attribute", "tiles", "side"),
    [("", "800", 800), ('model_tiles="off"', "800", None)],
)
def test_what_is_set_is_done(world: World, attribute: str, tiles: str, side: int | None) -> None:
    world.studio.config = CONFIG.replace("<RectangleLabels", f"<RectangleLabels {attribute}")
    assert world.new_run(tiles=tiles) == DONE
    tiling = world.registry.manifest("label", 1).tiling
    assert (tiling and tiling.side) == side
    assert world.registry.manifest("label", 1).lineage["settings"]["tiles"] == tiles
