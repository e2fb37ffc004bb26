"""The mean of what was learnt with the champion, in the use case with a toy trainer: when it is taken, who is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.train.ending import DONE
from jobs.train.preset import FEW
from shared.state.versions import GRAPH, WEIGHTS, Manifest
from tests.fakes.train_world import Studio, World, report_of


def second_version(world: World, *, score: float = 0.6, mean: float | None = None) -> Manifest:
    """Of a project whose first version scores 0.5."""
    assert world.new_run() == DONE
    world.trainer.score, world.trainer.mean_score = score, mean
    assert world.new_run() == DONE
    return world.registry.manifest("label", 2)


def files_of(world: World, manifest: Manifest, folder: Path) -> list[dict[str, Any]]:
    """What its weights and its graph say."""
    for name in (WEIGHTS, GRAPH):
        world.registry.download_file("label", manifest.file(name), folder / name)
    return [json.loads((folder / name).read_text()) for name in (WEIGHTS, GRAPH)]


@pytest.mark.parametrize(("mean", "score"), [(0.7, 0.7), (0.6, 0.6), (0.55, 0.6), (None, 0.6)])
def test_the_better_one_on_the_val_set_is_published_and_is_what_the_gate_measured(
    world: World, tmp_path: Path, mean: float | None, score: float
) -> None:
    manifest = second_version(world, mean=mean)
    averaged = mean is not None and mean >= 0.6
    assert (world.served(), manifest.gate.challenger, manifest.gate.champion) == (2, pytest.approx(score), 0.5)
    weights, graph = files_of(world, manifest, tmp_path)
    assert (weights, weights["score"]) == (graph, score)
    assert manifest.lineage.get("mean_with") == ("v1" if averaged else None)
    if averaged:
        assert [each["score"] for each in weights["of"]] == [0.5, 0.6], "the champion's and those that were learnt"
    said = "the mean of those of v1 and of those that were learnt"
    assert (said in report_of(world, 2, tmp_path)) == averaged


def test_a_mean_that_is_worse_than_the_champion_is_not_served(world: World) -> None:
    manifest = second_version(world, score=0.3, mean=0.45)
    assert (world.served(), manifest.gate.passed, manifest.gate.challenger) == (1, False, pytest.approx(0.45))


def test_a_first_version_is_what_was_learnt(world: World) -> None:
    world.trainer.mean_score, world.trainer.base_score = 0.9, 0.1
    assert world.new_run() == DONE
    assert world.registry.manifest("label", 1).gate.challenger == pytest.approx(0.5)


def test_of_many_images_it_is_what_was_learnt(world: World) -> None:
    world.studio = Studio(2 * FEW)
    manifest = second_version(world, mean=0.9)
    assert manifest.lineage["images"]["train"] >= FEW
    assert manifest.gate.challenger == pytest.approx(0.6)


def test_what_cannot_be_measured_is_not_averaged(world: World) -> None:
    """A val set without objects scores nothing, of either."""
    assert world.new_run() == DONE
    world.trainer.mean_score = 0.9
    evaluate = world.trainer.evaluate

    def unseen(*asked: Any, **more: Any) -> Any:
        measured = evaluate(*asked, **more)
        return replace(measured, evidence=measured.evidence.of([]))

    world.trainer.evaluate = unseen  # type: ignore[method-assign]
    assert world.new_run() == DONE
    assert "mean_with" not in world.registry.manifest("label", 2).lineage
