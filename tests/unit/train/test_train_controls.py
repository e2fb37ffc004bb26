"""Several controls in the use case with a toy trainer: each is trained, and none holds up the others."""

from pathlib import Path
from typing import Any

from jobs.train.ending import DONE, FAILED, INTERRUPTED
from jobs.train.training import Contender, Measured
from shared.errors import ModelError
from tests.fakes.train_parts import (
    CONFIG,
    found_part,
)
from tests.fakes.train_world import TWO_CONTROLS, World, bad_weights, with_birds


def test_a_control_that_nobody_uses_needs_no_images(world: World) -> None:
    world.studio.config = CONFIG.replace(
        "<View>",
        '<View><Image name="depth" value="$depth"/><RectangleLabels name="unused" toName="depth">'
        '<Label value="Bird"/></RectangleLabels>',
    )
    assert world.new_run() == DONE, world.message
    assert (world.served("label"), world.served("unused")) == (1, None)
    assert len(world.studio.fetched) == 39


def test_every_control_with_labels_is_trained(world: World) -> None:
    world.studio.config = TWO_CONTROLS
    world.new_run()
    assert (world.served("label"), world.served("second")) == (1, None), "no box of the second one yet"
    with_birds(world)
    world.new_run()
    assert (world.served("label"), world.served("second")) == (2, 1)
    assert world.registry.manifest("second", 1).labels == ("Bird",)


def fails_first(world: World, error: Exception) -> None:
    """The training of the first control fails."""
    fit = world.trainer.fit

    def fail(data: Path, *arguments: Any, **named: Any) -> Any:
        if "label" in data.parts[-3:]:
            raise error
        return fit(data, *arguments, **named)

    world.trainer.fit = fail  # type: ignore[method-assign]


def test_a_control_that_cannot_be_trained_leaves_the_others_alone(two: World) -> None:
    fails_first(two, ModelError("set other weights"))
    assert two.new_run() == DONE
    assert (two.outcome, two.served("label"), two.served("second")) == ("promoted", None, 1)
    assert "'label' was not trained: set other weights" in two.message
    assert two.jobs.read().baseline is not None, "it is not tried again before annotations change"


def test_a_control_that_may_heal_does_not_keep_the_others_waiting(two: World) -> None:
    fit = two.trainer.fit
    fails_first(two, RuntimeError("CUDA error"))
    assert two.new_run() == INTERRUPTED
    assert (two.served("label"), two.served("second")) == (None, 1)
    two.trainer.fit = fit  # type: ignore[method-assign]
    trained = len(two.trainer.started)
    assert two.next_attempt() == DONE
    assert (two.served("label"), two.served("second")) == (1, 1)
    assert len(two.trainer.started) == trained + 1, "the other one is not trained again"
    assert len(two.registry.versions("second")) == 1


def test_a_run_fails_if_no_control_could_be_trained(two: World) -> None:
    two.trainer.base = bad_weights  # type: ignore[method-assign]
    assert two.new_run() == FAILED
    assert two.message == "'label' was not trained: set other weights; 'second' was not trained: set other weights"


def test_a_worse_version_of_one_control_does_not_undo_the_other(two: World) -> None:
    two.new_run()
    evaluate = two.trainer.evaluate

    def worse(contender: Contender, data: Path, weights: Path | None = None) -> Measured:
        if "second" in data.parts and "champion" not in contender.graph.parts:
            return Measured(found_part(0.1), known=(0,))
        return evaluate(contender, data, weights)

    two.trainer.evaluate = worse  # type: ignore[method-assign]
    assert two.new_run() == DONE
    assert two.outcome == "promoted"
    assert (two.served("label"), two.served("second")) == (2, 1)
