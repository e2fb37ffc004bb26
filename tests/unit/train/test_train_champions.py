"""Champions in the use case with a toy trainer: what a version is compared with, and what a rollback means for it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.train.ending import DONE
from jobs.train.training import Contender, Measured
from shared.state import claims
from shared.state.versions import GRAPH, WEIGHTS, Gate, Manifest
from tests.fakes.stores import BeforeWrite
from tests.fakes.train_parts import (
    CONFIG,
    UID,
    annotation,
    begin_run,
    rectangle,
)
from tests.fakes.train_world import CHOICES, World, report_of


def foreign_version(
    world: World,
    score: float,
    folder: Path,
    *,
    fence: int,
    reason: str = "promote",
    yolo_task: Any = "detect",
    labels: tuple[str, ...] = ("Tree", "Rock"),
    known: tuple[int, ...] = (0, 1),
) -> None:
    """Somebody else's version takes the pointer. `known`: classes of today's config that it knows."""
    weights = folder / "foreign.pt"
    weights.write_text(json.dumps({"score": score, "known": known}))
    entry = world.registry.upload_file("label", WEIGHTS, weights)
    gate = Gate(metric="mAP50-95", challenger=score, champion=None, champion_version=None, passed=True, reason="test")
    manifest = world.registry.publish(
        "label",
        lambda number: Manifest(
            version=number, control="label", yolo_task=yolo_task, labels=labels, files=(entry,), metrics={},
            gate=gate, lineage={}, run_id=f"foreign-{number}", fence=fence, created_at=world.store.now(),
        ),
    )  # fmt: skip
    world.registry.promote(
        "label",
        manifest.version,
        fence=fence,
        run_id=manifest.run_id,
        expected=world.served(),
        reason=reason,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("champion", "outcome"), [pytest.param(0.9, "rejected", id="collapse"), pytest.param(0.4, "promoted", id="better")]
)
def test_a_champion_with_other_labels_is_compared_on_those_that_both_know(
    world: World, tmp_path: Path, champion: float, outcome: str
) -> None:
    foreign_version(world, champion, tmp_path, fence=1, labels=("Bush", "Tree"), known=(0,))
    world.trainer.score = 0.45
    assert world.new_run() == DONE
    assert world.outcome == outcome
    gate = world.registry.manifest("label", 2).gate
    assert (gate.champion, gate.against, gate.passed) == (pytest.approx(champion), "v1", outcome == "promoted")
    assert "may have seen it" in gate.reason, "nobody knows what a version without border learnt from"


def test_a_champion_that_knows_none_of_the_labels_is_no_rival(world: World, tmp_path: Path) -> None:
    foreign_version(world, 0.9, tmp_path, fence=1, labels=("Bush",), known=())
    assert world.new_run() == DONE
    assert world.outcome == "promoted"
    assert "v1 knows none of the labels" in world.message


@pytest.mark.parametrize(("base", "outcome"), [(0.9, "rejected"), (0.3, "promoted")])
def test_base_weights_that_know_a_label_are_the_first_champion(world: World, base: float, outcome: str) -> None:
    world.trainer.base_score = base
    assert world.new_run() == DONE
    assert world.outcome == outcome
    gate = world.registry.manifest("label", 1).gate
    assert (gate.against, gate.champion_version, gate.champion) == ("base-yolo11n", None, pytest.approx(base))


def test_what_a_champion_learnt_from_is_known(world: World) -> None:
    world.new_run()
    border = world.registry.manifest("label", 1).lineage["border"]
    assert border == world.jobs.read().val_border
    world.trainer.score = 0.6
    world.new_run(val_fraction=0.9)
    assert world.jobs.read().val_border == border, "it never rises"
    assert "may have seen" not in world.message
    assert world.registry.manifest("label", 2).gate.tasks > 0


@pytest.mark.parametrize(("score", "outcome", "served"), [(0.4, "promoted", 1), (0.9, "rejected", 2)])
def test_a_pointer_that_moved_after_the_gate_is_judged_again(
    world: World, tmp_path: Path, score: float, outcome: str, served: int
) -> None:
    claim = begin_run(world.store, epochs=4, val_fraction=0.4)
    meddled = BeforeWrite(
        world.store, lambda: foreign_version(world, score, tmp_path, fence=claim.fence), "pointer.json"
    )
    assert world.run(claim, meddled) == DONE
    assert (world.outcome, world.served()) == (outcome, served)


def test_a_rollback_is_not_undone(world: World, tmp_path: Path) -> None:
    world.new_run()
    world.new_run()

    def roll_back() -> None:
        fence = world.jobs.update(claims.next_fence, world.registry.fence()).fence
        world.registry.promote("label", 1, fence=fence, run_id="a-person", expected=2, reason="rollback")

    claim = begin_run(world.store, epochs=4, val_fraction=0.4)
    assert world.run(claim, BeforeWrite(world.store, roll_back, "pointer.json")) == DONE
    assert (world.outcome, world.served()) == ("rejected", 1)
    assert "v3 of 'label' is not served: somebody rolled back while it trained" in world.message
    page = report_of(world, 3, tmp_path)
    assert "v3 passed the gate" in page
    assert "promoted" not in page, "the report cannot know that it was not"


def roll_back(world: World, version: int, control: str = "label") -> None:
    fence = world.jobs.update(claims.next_fence, world.registry.fence()).fence
    world.registry.promote(
        control, version, fence=fence, run_id="a-person", expected=world.served(control), reason="rollback"
    )


def test_what_was_rolled_back_is_not_made_again_before_annotations_or_settings_change(world: World) -> None:
    world.new_run(epochs=3)
    world.trainer.score = 0.6
    world.new_run()
    roll_back(world, 1)
    trained = len(world.trainer.started)
    assert world.new_run() == DONE
    assert (world.outcome, world.served(), len(world.trainer.started)) == ("rejected", 1, trained)
    assert "those of v2, which was rolled back" in world.message
    assert world.new_run(epochs=5) == DONE
    assert (world.outcome, world.served()) == ("promoted", 3)
    roll_back(world, 1)
    for epochs in (4, 5):
        assert world.new_run(epochs=epochs) == DONE
        assert (world.outcome, world.served()) == ("rejected", 1)
    changed = annotation(1, [rectangle(width=20.0)], updated_at="2026-05-01T00:00:00Z")
    world.studio.all[0] = replace(world.studio.all[0], annotations=(changed,))
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 4)


def test_what_was_rolled_back_may_be_made_with_other_attributes_of_the_control(world: World) -> None:
    world.new_run()
    world.new_run()
    roll_back(world, 1)
    for change, outcome, served in (("strokeWidth", "rejected", 1), ("model_fliplr", "promoted", 3)):
        world.studio.config = world.studio.config.replace('name="label"', f'name="label" {change}="0"')
        assert world.new_run() == DONE
        assert (world.outcome, world.served()) == (outcome, served), change
    roll_back(world, 1)
    assert world.new_run() == DONE
    assert "those of v3, which was rolled back" in world.message


def test_a_version_that_a_person_serves_again_may_be_followed_by_its_equal(world: World) -> None:
    world.new_run()
    world.new_run()
    roll_back(world, 1)
    roll_back(world, 2)
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 3)


def test_annotations_of_another_control_do_not_make_what_was_rolled_back_again(two: World) -> None:
    two.new_run(epochs=3)
    two.new_run()
    roll_back(two, 1)
    for place, one in enumerate(two.studio.all):
        birds = [rectangle(), rectangle("Bird", control="second", width=20.0)]
        changed = annotation(one.id, birds, updated_at="2026-06-01T00:00:00Z")
        two.studio.all[place] = replace(one, annotations=(changed,))
    assert two.new_run(forced=False) == DONE
    assert (two.outcome, two.served("label"), two.served("second")) == ("promoted", 1, 3)
    assert "'label' was not trained" in two.message


def test_a_control_that_was_of_another_yolo_task_begins_anew(world: World, tmp_path: Path) -> None:
    foreign_version(world, 0.9, tmp_path, fence=1, yolo_task="segment")
    evaluate, evaluated = world.trainer.evaluate, []

    def once(contender: Contender, data: Path, weights: Path | None = None) -> Measured:
        evaluated.append(contender.graph)
        assert len(evaluated) == 1, "it is judged again and again"
        return evaluate(contender, data, weights)

    world.trainer.evaluate = once  # type: ignore[method-assign]
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 2)


@pytest.mark.parametrize("name", [WEIGHTS, GRAPH])
def test_a_champion_that_is_broken_is_passed_over(world: World, name: str) -> None:
    world.new_run()
    world.trainer.score = 0.9
    world.new_run()
    broken = world.registry.manifest("label", 2).file(name)
    world.store.put(f"projects/{UID}/models/label/files/{broken.sha256}/{name}", b"tampered with")
    world.trainer.score = 0.6
    assert world.new_run() == DONE
    assert world.registry.rejected("label") == {2}
    gate = world.registry.manifest("label", 3).gate
    assert (gate.champion_version, gate.champion) == (1, 0.5)
    assert world.served() == 3


def test_a_champion_whose_file_is_missing_is_not_rejected_and_the_one_behind_is_the_rival(world: World) -> None:
    """A copy of the store may be on its way: the file comes back."""
    world.new_run()
    world.trainer.score = 0.9
    world.new_run()
    take_away(world, 2)
    world.trainer.score = 0.2
    assert world.new_run() == DONE
    assert (world.outcome, world.served(), world.registry.rejected("label")) == ("rejected", 2, set())
    world.trainer.score = 0.6
    assert world.new_run() == DONE
    assert (world.outcome, world.served(), world.registry.rejected("label")) == ("promoted", 4, set())
    gate = world.registry.manifest("label", 4).gate
    assert (gate.against, gate.champion, gate.champion_version) == ("v1", 0.5, 2)
    assert "v2 is served, but the store lacks files of v2" in world.message


@pytest.mark.parametrize(("base", "against"), [(None, None), (0.3, "base-yolo11n")])
def test_where_no_champion_can_be_had_the_verdict_says_so(
    world: World, base: float | None, against: str | None
) -> None:
    world.new_run()
    take_away(world, 1)
    world.trainer.base_score = base
    assert world.new_run() == DONE
    gate = world.registry.manifest("label", 2).gate
    assert (world.served(), gate.against, world.registry.rejected("label")) == (2, against, set())
    assert "v1 is served, but the store lacks files of v1 and there is no older good version" in world.message


def test_a_champion_that_is_no_model_is_rejected_and_passed_over(world: World) -> None:
    world.new_run()
    world.trainer.score = 0.6
    world.new_run()
    world.trainer.damaged = {world.registry.manifest("label", 2).file(WEIGHTS).sha256}
    world.trainer.score = 0.55
    assert world.new_run() == DONE, world.message
    assert world.registry.rejected("label") == {2}
    assert world.registry.manifest("label", 3).gate.against == "v1"


def take_away(world: World, version: int) -> None:
    entry = world.registry.manifest("label", version).file(WEIGHTS)
    world.store.delete(f"projects/{UID}/models/label/files/{entry.sha256}/{WEIGHTS}")


def test_a_classifier_is_judged_by_what_it_guesses_of_each_class(world: World, tmp_path: Path) -> None:
    world.studio.config = CONFIG.replace("</View>", f"{CHOICES}</View>")
    for number, one in enumerate(world.studio.all):
        value = {"choices": ["Fir" if number % 2 else "Oak"]}
        choice = {"from_name": "kind", "to_name": "img", "type": "choices", "value": value}
        world.studio.all[number] = replace(one, annotations=(annotation(one.id, [choice]),))
    for score in (0.5, 0.4):
        world.trainer.score = score
        assert world.new_run() == DONE, world.message
    assert (world.served("kind"), world.served("label")) == (1, None)
    manifest = world.registry.manifest("kind", 2)
    gate = manifest.gate
    assert (gate.metric, gate.challenger, gate.champion, gate.passed) == ("balanced accuracy", 0.4, 0.5, False)
    assert (manifest.yolo_task, manifest.labels) == ("classify", ("Oak", "Fir"))
    world.registry.download_file("kind", manifest.file("report.html"), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "v2 did not pass the gate: v1 stays" in page
    assert '<th scope="row">balanced accuracy</th>' in page
    assert '<th scope="row">Fir</th><td class="n">50</td>' in page, "images of the val set"
