"""A run begins with the store's copy of base weights, and makes it if nobody did."""

from pathlib import Path

import pytest

from jobs.train.ending import DONE, FAILED, INTERRUPTED
from jobs.train.training import Prepared
from shared.digest import sha256_of
from shared.errors import LabelloopError, ModelError
from shared.evolve import evolve
from shared.state import claims, keys
from shared.state.base_weights import add_base_weights, find_base_weights
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.state.versions import GRAPH, WEIGHTS
from tests.fakes.train_parts import CONFIG, UID, begin_run
from tests.fakes.train_world import World


def begun_with(world: World) -> tuple[str, str]:
    """What v1 began with: name and digest."""
    lineage = world.registry.manifest("label", 1).lineage
    return lineage["base"], lineage["base_sha256"]


def test_the_first_run_makes_them(world: World) -> None:
    assert world.new_run() == 0
    made = find_base_weights(world.store, "yolo11n.pt")
    assert made is not None
    assert begun_with(world) == ("yolo11n.pt", made.file(WEIGHTS).sha256)


def test_a_run_takes_those_that_are_there_whatever_this_machine_has(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = tmp_path / "mine.pt", tmp_path / "elsewhere" / "mine.pt"
    mine.write_text("first")
    other.parent.mkdir()
    other.write_text("trained further")
    add_base_weights(world.store, "mine.pt", "detect", ("tree",), {WEIGHTS: mine, GRAPH: mine})

    def not_again(weights: str) -> None:
        raise ModelError(f"{weights} are made again")

    monkeypatch.setattr(world.trainer, "prepare", not_again)
    assert world.new_run(base_weights=str(other)) == 0
    assert begun_with(world) == ("mine.pt", sha256_of(mine))


def base_run(world: World, config: str = CONFIG) -> int:
    """A run of kind `base` of a project that is connected, in which nothing is annotated."""
    world.studio.all = []
    write_project(world.store, UID, label_config=config)
    world.claim = begin_run(world.store, kind="base")
    return world.run(world.claim)


def test_a_run_of_kind_base_makes_them_and_needs_no_annotations(world: World) -> None:
    assert base_run(world) == DONE
    assert (world.outcome, world.message) == ("prepared", "the base weights yolo11n.pt had to be made")
    assert find_base_weights(world.store, "yolo11n.pt")
    assert (world.studio.exports, world.progress().phase, world.jobs.read().baseline) == (0, "finished", None)


def test_what_cannot_be_made_fails_the_run_with_a_sentence(world: World) -> None:
    world.trainer.prepare_error = "no such operator"
    assert base_run(world) == FAILED
    assert world.message == "the base weights yolo11n.pt could not be made: no such operator"


def publish_without_graph(world: World) -> None:
    """A version as an older labelloop published it."""
    assert world.new_run() == DONE
    (made,) = world.registry.versions("label")
    key = keys.manifest(UID, "label", 1)
    world.store.put(key, evolve(made, files=tuple(one for one in made.files if one.name != GRAPH)).to_json())
    world.registry = Registry(world.store, UID)


def test_a_version_without_graph_is_published_again_with_it(world: World) -> None:
    publish_without_graph(world)
    old = world.registry.manifest("label", 1)
    assert base_run(world) == DONE
    new = world.registry.serving("label")
    assert new is not None
    assert (new.version, new.run_id) == (2, world.claim.run_id)
    assert world.message == "the graph of v1 of 'label' had to be made"
    assert [entry.name for entry in new.files] == [*(entry.name for entry in old.files), GRAPH]
    assert (new.metrics, new.gate, new.shown, new.labels) == (old.metrics, old.gate, old.shown, old.labels)
    assert new.lineage == {**old.lineage, "converted_from": 1}
    assert base_run(world) == DONE
    assert (world.message, world.served()) == ("nothing had to be made", 2)


@pytest.mark.parametrize("damage", ["other bytes", "no model"])
def test_a_version_whose_weights_are_bad_is_rejected_and_the_one_before_it_converted(world: World, damage: str) -> None:
    publish_without_graph(world)
    old = world.registry.manifest("label", 1)
    if damage == "other bytes":
        bad = evolve(old.file(WEIGHTS), sha256="0" * 64)
        world.store.put(keys.file(UID, "label", bad.sha256, WEIGHTS), b"cut off")
    else:
        bad = world.registry.upload_file("label", WEIGHTS, Path(__file__))
        world.trainer.damaged = {bad.sha256}
    world.registry.publish("label", lambda number: evolve(old, version=number, files=(bad,), run_id="two"))
    fence = world.jobs.update(claims.next_fence, world.registry.fence()).fence
    world.registry.promote("label", 2, fence=fence, run_id="two", expected=1)
    assert base_run(world) == FAILED
    assert world.registry.rejected("label") == {2}
    assert base_run(world) == DONE
    assert world.message == "the graph of v1 of 'label' had to be made"
    assert world.served() == 3


POLYGONS = '<PolygonLabels name="part" toName="img"><Label value="Tree"/></PolygonLabels>'
"""A control without a version: its base weights have to be made."""


def test_a_version_whose_weights_are_missing_keeps_nothing_else_from_being_made(world: World) -> None:
    publish_without_graph(world)
    entry = world.registry.manifest("label", 1).file(WEIGHTS)
    world.store.delete(keys.file(UID, "label", entry.sha256, WEIGHTS))
    assert base_run(world, CONFIG.replace("</View>", f"{POLYGONS}</View>")) == FAILED
    assert world.message.startswith("the graph of v1 of 'label' could not be made: ")
    assert find_base_weights(world.store, "yolo11n-seg.pt")
    assert world.registry.rejected("label") == set(), "somebody may be copying the store"


def test_a_download_that_fails_keeps_nothing_else_from_being_made(world: World) -> None:
    publish_without_graph(world)
    prepare = world.trainer.prepare

    def no_internet(weights: str) -> Prepared:
        if weights.endswith("-seg.pt"):
            raise LabelloopError(f"{weights} could not be downloaded")
        return prepare(weights)

    world.trainer.prepare = no_internet  # type: ignore[method-assign]
    assert base_run(world, CONFIG.replace("<RectangleLabels", f"{POLYGONS}<RectangleLabels")) == INTERRUPTED
    assert world.served() == 2


def test_a_rollback_while_a_version_is_converted_stands(world: World) -> None:
    publish_without_graph(world)
    prepare = world.trainer.prepare

    def meanwhile(weights: str) -> Prepared:
        fence = world.jobs.update(claims.next_fence, world.registry.fence()).fence
        world.registry.promote("label", 1, fence=fence, run_id="rollback", expected=1, reason="rollback")
        return prepare(weights)

    world.trainer.prepare = meanwhile  # type: ignore[method-assign]
    assert base_run(world) == DONE
    assert world.served() == 1
