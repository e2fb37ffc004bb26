"""compare: two versions that toys trained, and what a person is told of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.cli.environment import Invocation
from infra.cli.main import app
from jobs.train.data.annotations import ExportedTask
from jobs.train.ending import DONE
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state.projects import write_project
from shared.state.versions import DATASET
from tests.fakes.train_parts import CONFIG, UID, annotation, jpeg, rectangle
from tests.fakes.train_world import World

Compare = Callable[..., Result]


@pytest.fixture
def world(file_store: ObjectStore, tmp_path: Path) -> World:
    world = World(file_store, tmp_path)
    write_project(file_store, UID, label_config=CONFIG)
    return world


@pytest.fixture
def compare(file_store: ObjectStore, tmp_path: Path) -> Compare:
    invocation = Invocation({"LABELLOOP_STORE": file_store.url}, tmp_path)
    return lambda *arguments: CliRunner().invoke(
        app, ["compare", *map(str, arguments)], obj=invocation, env={"COLUMNS": "100"}
    )


def task(number: int, *regions: dict[str, Any]) -> ExportedTask:
    return ExportedTask(number, {"image": f"x{number}"}, (annotation(number, list(regions)),))


def two_versions(world: World) -> None:
    studio = world.studio
    assert world.new_run() == DONE
    studio.all[4] = task(5, rectangle("Rock"))
    del studio.all[10]  # task 11
    studio.all.append(task(50, rectangle(), rectangle("Rock", x=5.0)))
    fetch = studio.fetch
    studio.fetch = lambda value, **how: jpeg(seed=1) if value == "x8" else fetch(value, **how)  # type: ignore[method-assign]
    world.trainer.score = 0.7
    assert world.new_run(image_size=320) == DONE


def test_what_differs(world: World, compare: Compare) -> None:
    two_versions(world)
    result = compare(1, 2, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert {name: said["tasks"][name] for name in ("added", "removed", "changed", "new_images")} == {
        "added": [50], "removed": [11], "changed": [5, 8], "new_images": [8],
    }  # fmt: skip
    assert said["labels"] == {"Rock": [None, 2], "Tree": [39, 38]}
    assert said["settings"] == {"image_size": [640, 320]}
    assert said["training"]["base"][1] == "v1"
    assert said["packages"] == {}
    assert said["metrics"]["mAP50-95"] == pytest.approx([0.5, 0.7])
    assert [gate["passed"] for gate in said["gate"]] == [True, True]

    assert (said["cost"], [seconds >= 0 for seconds in said["seconds"]]) == ([None, None], [True, True])

    told = compare(1, 2).output
    assert "Tasks from v1 to v2: 1 added (50), 1 removed (11), 2 changed (5, 8), 1 of these with another" in told
    assert "The same: packages" in told
    assert ("so these metrics say little" in told) != said["tasks"]["same_val"]
    for row in (["image_size", "640", "320"], ["Tree", "39", "38"], ["mAP50-95", "0.500", "0.700"]):
        assert any(line.split() == row for line in told.splitlines()), (row, told)


def test_what_both_cost(world: World, compare: Compare) -> None:
    world.new_run()

    def longer(number: int) -> Any:
        before = world.registry.manifest("label", 1)
        lineage = before.lineage | {"seconds": 900, "price_per_hour": "0.80 EUR"}
        return evolve(before, version=number, run_id="longer", lineage=lineage)

    world.registry.publish("label", longer)
    said = json.loads(compare(1, 2, "--json").stdout)
    assert (said["seconds"][1], said["cost"]) == (900, [None, {"amount": 0.2, "currency": "EUR"}])
    lines = [line.split() for line in compare(1, 2).output.splitlines()]
    assert ["cost", "–", "0.20", "EUR"] in lines
    assert ["15", "min"] in [line[-2:] for line in lines if line[:1] == ["took"]]


def test_nothing_differs(world: World, compare: Compare) -> None:
    world.new_run()
    told = compare(1, 1).output
    assert "Tasks from v1 to v1: the same." in told
    assert "The same: settings, packages, thresholds." in told
    assert json.loads(compare(1, 1, "--json").stdout)["tasks"]["same_val"] is True


def test_a_version_of_an_older_labelloop(world: World, compare: Compare) -> None:
    world.new_run()

    def older(number: int) -> Any:
        manifest = world.registry.manifest("label", 1)
        lineage, files = {"settings": "?", "epochs": 3}, tuple(one for one in manifest.files if one.name != DATASET)
        return evolve(manifest, version=number, run_id="older", files=files, lineage=lineage, shown={})

    world.registry.publish("label", older)
    said = json.loads(compare(1, 2, "--json").stdout)
    assert said["tasks"] is None
    assert said["training"]["epochs"] == [4, 3]
    assert "What v2 learnt from was not kept, so tasks cannot be compared." in compare(1, 2).output
    assert "has no version v9; there are v1, v2" in str(compare(1, 9).exception)
