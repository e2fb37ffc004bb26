"""The list of suspects that a training leaves: what it says, beside which version, and that it never fails one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.train.data.dataset import Counts, Dataset
from jobs.train.evidence import Evidence, Found, Outcome
from jobs.train.judging import Judged, Side
from jobs.train.suspect_list import list_suspects
from jobs.train.training import Contender, Measured, TrainingSettings
from jobs.train.yolo.val_set import ValSet, task_of
from shared.evolve import evolve
from shared.geometry.detections import Floats
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import keys
from shared.state.registry import Registry
from shared.state.suspects import SuspectList, dismiss, newest_first, read_suspects
from shared.state.versions import Gate
from tests.fakes.train_parts import CONFIG, UID, ToyTrainer
from tests.fakes.train_world import World

GATE = Gate(metric="mAP50-95", challenger=0.5, champion=None, champion_version=None, passed=True, reason="the first")
HERE, THERE = (10.0, 10.0, 40.0, 40.0), (60.0, 60.0, 90.0, 90.0)


def outcome(task: str, truth: list[tuple[float, ...]], found: list[tuple[float, ...]], **more: Any) -> Outcome:
    """Of a picture of 100 × 50 pixels with objects of one class; what is found is what is annotated, or elsewhere."""
    boxes, annotated = (np.array(each, dtype=np.float64).reshape(-1, 4) for each in (found, truth))
    alike = (annotated[:, None] == boxes).all(axis=2).astype(float)
    zeros = [np.zeros(len(each), dtype=np.int64) for each in (truth, found)]
    given: dict[str, Any] = {"annotated": annotated, "size": (100, 50)} | more
    return Outcome(task, zeros[0], zeros[1], np.full(len(found), 0.3), alike, boxes, **given)


def listed(evidence: Evidence, config: str = CONFIG, better: str = "") -> SuspectList | None:
    control = parse_label_config(config)[0]
    dataset = Dataset(Path("data.yaml"), control.class_names, Counts(train=30, val=10))
    ours = Side("", Contender(Path("new.onnx"), control, TrainingSettings.of({}, Settings())), evidence, (0,), {})
    theirs = replace(ours, name=better) if better else None
    judged = Judged(
        evolve(GATE, passed=not better),
        {},
        {},
        {},
        (),
        replace(ours, evidence=Found([], [0])) if better else ours,
        theirs,
    )
    held_out = {number: (100 + number, f"{number:064x}") for number in range(50)}
    return list_suspects(control, dataset, judged, held_out)


def found_of(*odd: Outcome) -> Found:
    return Found([*(outcome(str(number), [HERE], [HERE]) for number in range(30)), *odd], [0])


def test_what_is_said_of_a_missing_object() -> None:
    lost = found_of(outcome("41", [HERE], [HERE, THERE]))
    made = listed(lost)
    assert made
    (one,) = made.suspects
    assert (one.kind, one.task, one.annotation, one.digest) == ("missing", 41, 141, f"{41:064x}")
    assert (one.label, one.box, one.found, one.confidence) == ("", None, "Tree", 0.3)
    assert one.found_box == (60.0, 100.0, 30.0, 0.0), "in percent of 100 × 50 pixels, clipped"
    assert one.reason == "Tree is found here, and nothing is annotated"
    assert (made.count, made.judged, made.tasks, made.judge) == (1, 31, 40, "")
    again = listed(lost, better="v3")
    assert again
    assert (again.suspects[0].id, again.judge) == (one.id, "v3")


def test_rotated_boxes_are_told_by_the_boxes_around_them() -> None:
    turned: Floats = np.array([[50.0, 25.0, 40.0, 20.0, np.pi / 2]])
    odd = replace(outcome("41", [HERE], []), annotated=turned, boxes=np.zeros((0, 5)))
    rest = [
        replace(outcome(str(number), [HERE], [HERE]), annotated=turned, boxes=turned, overlap=np.ones((1, 1)))
        for number in range(30)
    ]
    made = listed(Found([*rest, odd], [0]), CONFIG.replace("<RectangleLabels", '<RectangleLabels model_obb="true"'))
    assert made
    assert [(one.kind, one.box) for one in made.suspects] == [("spurious", (40.0, 10.0, 20.0, 80.0))]


@pytest.mark.parametrize("without", [{"annotated": None}])
def test_of_some_controls_there_is_no_list(without: dict[str, Any]) -> None:
    assert listed(found_of(outcome("41", [HERE], [], **without))) is None
    video = CONFIG.replace("<Image", "<Video").replace("RectangleLabels", "VideoRectangle")
    video = (
        video.replace("</VideoRectangle>", "</VideoRectangle>")
        .replace(
            '<VideoRectangle name="label" toName="img">',
            '<VideoRectangle name="box" toName="img"/><Labels name="label" toName="img">',
        )
        .replace("</VideoRectangle>", "</Labels>")
    )
    assert parse_label_config(video)[0].media == "video"
    assert listed(found_of(), video) is None


class Disputing(ToyTrainer):
    """Finds what is annotated in the val set; in the first picture something else, too."""

    broken = False

    def evaluate(self, contender: Contender, data: Path, weights: Path | None = None) -> Measured:
        before = super().evaluate(contender, data, weights)
        if not contender.trained:
            return before
        pictures = ValSet.of(data).pictures()
        odd, *rest = sorted(task_of(picture) for picture in pictures)
        found = [outcome(odd, [HERE], [HERE, THERE]), *(outcome(task, [HERE], [HERE]) for task in rest)]
        if self.broken:
            found[0] = replace(found[0], task="4711")  # which no snapshot holds
        return Measured(Found(found, [0]), before.known)


@pytest.fixture
def world(file_store: ObjectStore, tmp_path: Path) -> World:
    made = World(file_store, tmp_path)
    made.trainer = Disputing()
    return made


def test_a_training_leaves_a_list_and_says_how_many(world: World) -> None:
    world.new_run()
    manifest = world.registry.manifest("label", 1)
    assert manifest.lineage["suspects"] == 1
    last = world.jobs.read().last_run
    assert last
    assert last.suspects == 1
    outcome, notice = world.jobs.read().notices
    assert (outcome.event, notice.event, notice.count) == ("promoted", "suspects", 1)
    assert notice.message == "1 annotation is worth a look: `labelloop suspects`, or the page"
    found = read_suspects(world.store, UID, "label", newest_first(Registry(world.store, UID), "label"))
    assert found
    assert (found.version, len(found.open), found.list.judged) == (1, 1, manifest.lineage["tasks"]["val"])

    dismiss(world.store, UID, "label", found.open)
    world.new_run()
    last = world.jobs.read().last_run
    assert last
    assert last.suspects == 0, "what was dismissed is counted no more"
    assert [each.event for each in world.jobs.read().notices].count("suspects") == 1


def test_no_training_fails_for_its_list(world: World) -> None:
    world.trainer.broken = True  # type: ignore[attr-defined]
    world.new_run()
    assert world.outcome == "promoted"
    assert world.registry.manifest("label", 1).lineage["suspects"] == 0


def test_no_training_fails_for_what_was_dismissed(world: World) -> None:
    world.store.put(keys.dismissals(UID, "label"), b"{")
    world.new_run()
    assert world.outcome == "promoted"
    assert world.registry.manifest("label", 1).lineage["suspects"] == 1
