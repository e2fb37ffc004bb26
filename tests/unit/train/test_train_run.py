"""The use case with a toy trainer: every way in which a run can end."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.train.data.annotations import ExportedTask
from jobs.train.data.files import ImageFiles
from jobs.train.data.split import place_of, split_of
from jobs.train.ending import DONE, FAILED, INTERRUPTED
from jobs.train.training import Measured
from shared.digest import sha256_of
from shared.errors import LabelStudioError, ModelError, ProjectGone
from shared.evolve import evolve
from shared.job_signals import Stopped
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.prediction.region_ids import SMART
from shared.state import claims, keys
from shared.state.budget import Budget
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from shared.state.versions import DATASET, GRAPH, REPORT, WEIGHTS, Gate, Manifest
from tests.fakes.stores import BeforeWrite, Clocked, Refuses
from tests.fakes.train_parts import (
    CONFIG,
    CREATED,
    UID,
    annotation,
    begin_run,
    found_part,
    rectangle,
)
from tests.fakes.train_world import Studio, World
from tests.servers.trigger_process import eventually

TWO_CONTROLS = CONFIG.replace(
    "</View>", '<RectangleLabels name="second" toName="img"><Label value="Bird"/></RectangleLabels></View>'
)


@pytest.fixture
def world(file_store: ObjectStore, tmp_path: Path) -> World:
    return World(file_store, tmp_path)


def test_a_first_version(world: World, tmp_path: Path) -> None:
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 1)
    manifest = world.registry.manifest("label", 1)
    assert manifest.labels == ("Tree", "Rock")
    assert manifest.metrics["mAP50-95"] == 0.5
    assert (manifest.gate.passed, manifest.gate.champion_version) == (True, None)
    assert manifest.lineage["annotations_digest"] == (world.jobs.read().baseline or 0).digest  # type: ignore[union-attr]
    assert manifest.lineage["tasks"]["train"] + manifest.lineage["tasks"]["val"] == 39
    world.registry.download_file("label", manifest.file("report.html"), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "not compared" in page
    assert "mAP50-95 while it trained" in page, "all epochs are in it, also those between two looks of the uploader"
    assert "Epoch 2 was the best" in page
    progress = world.progress()
    assert (progress.phase, progress.epoch, progress.epochs) == ("finished", 4, 4)
    assert not [key for key in world.store.list("") if "/checkpoints/" in key]


def test_a_version_tells_what_annotators_made_of_the_one_before(world: World, tmp_path: Path) -> None:
    def made(number: int, origins: Sequence[str], **fields: object) -> ExportedTask:
        boxes = [
            rectangle() | ({"id": f"{SMART}{place}"} if origin == "smart" else {"id": f"r{place}", "origin": origin})
            for place, origin in enumerate(origins)
        ]
        return ExportedTask(number, {"image": f"x{number}"}, (annotation(number, boxes, **fields),))

    world.studio.all[0] = made(1, ["prediction", "manual"], parent_prediction=5)
    assert world.new_run() == DONE
    told = world.registry.manifest("label", 1).lineage["taken_up"]
    assert told == {"version": "the base weights", "annotations": 1, "kept": 1, "changed": 0, "drawn": 1, "smart": 0}

    pointer = world.registry.pointer("label")
    assert pointer
    since = {"created_at": pointer.moved_at.isoformat(), "updated_at": pointer.moved_at.isoformat()}
    world.studio.all[1:5] = [
        made(2, ["prediction", "prediction", "prediction-changed", "manual", "smart"], parent_prediction=6, **since),
        made(3, ["prediction-changed", "manual"], **since),  # continued from a draft
        made(4, ["manual"], parent_prediction=7, **since),  # all that was predicted is gone
        made(5, ["manual", "smart"], **since),  # begun from nothing
    ]
    world.trainer.score = 0.6
    assert world.new_run() == DONE
    manifest = world.registry.manifest("label", 2)
    told = {"version": "v1", "annotations": 3, "kept": 2, "changed": 2, "drawn": 3, "smart": 1}
    assert manifest.lineage["taken_up"] == told
    world.registry.download_file("label", manifest.file("report.html"), tmp_path / "report.html")
    page = " ".join((tmp_path / "report.html").read_text().split())
    assert "Since v1 is served, 3 tasks were annotated on its predictions" in page
    assert (
        "of their 8 objects 2 were left as predicted, 2 moved or given another label, 3 drawn by hand, 1 by smart"
        in page
    )


def test_a_version_holds_weights_and_their_graph(world: World, tmp_path: Path) -> None:
    assert world.new_run() == DONE
    manifest = world.registry.manifest("label", 1)
    assert [entry.name for entry in manifest.files] == [WEIGHTS, GRAPH, DATASET, REPORT]
    for name in (WEIGHTS, GRAPH):
        world.registry.download_file("label", manifest.file(name), tmp_path / name)
        assert sha256_of(tmp_path / name) == manifest.file(name).sha256
    assert (tmp_path / GRAPH).read_text() == f" {(tmp_path / WEIGHTS).read_text()}"


def test_without_a_graph_that_answers_as_the_weights_do_nothing_is_published(world: World) -> None:
    world.trainer.graph_error = "the graph does not answer as the weights do"
    assert world.new_run() == FAILED
    assert world.outcome == "failed"
    assert "the graph does not answer as the weights do" in world.message
    assert not list(world.store.list(f"projects/{UID}/models/"))


def test_a_better_and_a_worse_challenger(world: World) -> None:
    world.new_run()
    world.trainer.score = 0.6
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 2)
    world.trainer.score = 0.55
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("rejected", 2)
    gate = world.registry.manifest("label", 3).gate
    assert (gate.passed, gate.challenger, gate.champion, gate.champion_version) == (False, 0.55, pytest.approx(0.6), 2)
    assert world.jobs.read().baseline is not None, "a rejected run moves the baseline too"


def test_nothing_changed(world: World) -> None:
    world.new_run()
    assert world.new_run(forced=False) == DONE
    assert (world.outcome, world.served()) == ("unchanged", 1)
    assert world.progress().phase == "unchanged"
    changed = annotation(1, [rectangle()], updated_at="2026-05-01T00:00:00Z")
    world.studio.all[0] = replace(world.studio.all[0], annotations=(changed,))
    assert world.new_run(forced=False) == DONE
    assert (world.outcome, world.served()) == ("promoted", 2)


def test_a_second_copy_does_nothing(world: World) -> None:
    claim = begin_run(world.store)
    world.jobs.update(claims.start, claim.run_id, nonce="the first copy", lifetime=600)
    assert world.run(claim) == DONE
    assert world.studio.exports == 0
    assert world.outcome is None


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda world: setattr(world.studio, "config", "<View><"), "not well-formed", id="broken config"),
        pytest.param(
            lambda world: setattr(world.studio, "config", "<View/>"),
            "<RectangleLabels>, <PolygonLabels>,",
            id="no control",
        ),
        pytest.param(lambda world: setattr(world.trainer, "base", bad_weights), "other weights", id="bad base weights"),
        pytest.param(
            lambda world: setattr(world.studio, "error", ProjectGone("it is gone")), "gone", id="project gone"
        ),
    ],
)
def test_what_cannot_heal_fails_the_run(world: World, spoil: Callable[[World], None], says: str) -> None:
    spoil(world)
    assert world.new_run() == FAILED
    assert (world.outcome, world.served()) == ("failed", None)
    assert says in world.message
    assert says in world.progress().error
    record = world.jobs.read()
    assert record.training is None
    assert record.baseline is None, "what it was started for is due again"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda world: world.studio.all.clear(), "no annotated task", id="no annotations"),
        pytest.param(
            lambda world: setattr(world.studio, "config", CONFIG.replace("Tree", "Car").replace("Rock", "Bus")),
            "no annotated task holds anything with a label of 'label' (<RectangleLabels>): 39 annotated tasks hold "
            "'Tree', which is not in the labeling config of 'label': rename it back, or write alias='Tree' to the",
            id="no label is known",
        ),
        pytest.param(
            lambda world: setattr(world.studio, "config", f"{CONFIG[:-7]}{CHOICES}</View>".replace("Tree", "Car")),
            "no annotated task holds anything",
            id="nothing of several controls",
        ),
    ],
)
def test_nothing_to_learn_is_the_end_of_a_run_and_no_failure(
    world: World, spoil: Callable[[World], None], says: str
) -> None:
    """All was read, so only changes call for the next run: a project without objects must not start one every day."""
    spoil(world)
    if "Choices" in world.studio.config:
        world.studio.all = [
            replace(one, annotations=(annotation(one.id, [rectangle("Bird")]),)) for one in world.studio.all
        ]
    assert world.new_run() == DONE
    record = world.jobs.read()
    assert record.last_run is not None
    assert (record.last_run.outcome, record.last_run.failures, world.served()) == ("nothing_to_learn", 0, None)
    assert says in world.message
    assert (world.progress().phase, record.training) == ("finished", None)
    assert record.baseline is not None


def test_a_run_notes_in_how_many_tasks_each_label_stands(world: World) -> None:
    world.studio.all[0] = replace(world.studio.all[0], annotations=(annotation(1, [rectangle("Bird"), rectangle()]),))
    assert world.new_run() == DONE
    baseline = world.jobs.read().baseline
    assert baseline is not None
    assert baseline.labels == {"label": {"Tree": 39, "Bird": 1}}
    assert "1 labels of regions are not in the labeling config: those are not learnt" in world.message


def bad_weights(*_: Any, **__: Any) -> Any:
    raise ModelError("set other weights")


def test_wrong_base_weights_end_the_run_before_an_image_is_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.trainer, "base", bad_weights)
    assert world.new_run() == FAILED
    assert "set other weights" in world.message
    assert not world.studio.fetched


def test_a_project_that_is_gone_is_closed(world: World) -> None:
    world.studio.error = ProjectGone("it is gone")
    world.new_run()
    assert world.jobs.read().closed


def test_settings_that_make_no_sense_fail_the_run(world: World) -> None:
    assert world.new_run(image_size="large") == FAILED
    assert "image_size" in world.message


@pytest.mark.parametrize("when", ["before its export", "after it"])
def test_a_failed_run_uses_up_nothing(world: World, when: str) -> None:
    world.new_run()
    before = world.jobs.read().baseline
    assert before is not None
    changed = annotation(1, [rectangle()], updated_at="2026-05-01T00:00:00Z")
    world.studio.all[0] = replace(world.studio.all[0], annotations=(changed,))
    fit = world.trainer.fit
    if when == "after it":
        world.trainer.fit = bad_weights  # type: ignore[method-assign]
    else:
        world.studio.config = "<View/>"
    for failures in (1, 2):
        assert world.new_run(forced=False) == FAILED
        last = world.jobs.read().last_run
        assert last is not None
        assert (last.outcome, last.failures) == ("failed", failures)
        assert world.jobs.read().baseline == before
    world.trainer.fit, world.studio.config = fit, CONFIG  # type: ignore[method-assign]
    assert world.new_run(forced=False) == DONE
    last, baseline = world.jobs.read().last_run, world.jobs.read().baseline
    assert last is not None
    assert (last.outcome, last.failures) == ("promoted", 0)
    assert baseline != before


def test_what_older_runs_left_in_the_store_goes_after_each_run(world: World) -> None:
    """Also after one that fails, or finds nothing changed; all of the newest two stay."""
    world.settings = {"LABELLOOP_KEEP_RUNS": 2, "LABELLOOP_KEEP_VERSIONS": 1}
    for kind in ("trains", "trains", "trains", "finds nothing changed", "fails"):
        world.studio.config = "<View/>" if kind == "fails" else CONFIG
        world.new_run(forced=kind != "finds nothing changed")
        assert len({key.split("/")[2] for key in world.store.list("runs/")}) <= 2
    assert world.outcome == "failed"
    assert not [key for key in world.store.list("runs/") if "/checkpoints/" in key]
    assert [one.version for one in world.registry.versions("label")] == [2, 3]
    files = list(world.store.list(f"projects/{UID}/models/label/files/"))
    assert len(files) == 3 + 2, "toys have the same weights, graph and data, and each version a report"


def test_another_installation_with_the_same_project_id(world: World) -> None:
    world.studio.project = lambda project_id: ProjectState(  # type: ignore[method-assign]
        ProjectCounters(id=1, created_at=CREATED.replace(year=2020), label_config=CONFIG), CREATED
    )
    assert world.new_run() == FAILED
    assert "LABEL_STUDIO_URL" in world.message


def test_what_may_heal_is_tried_again(world: World) -> None:
    world.studio.error = LabelStudioError("not reachable")
    assert world.new_run() == INTERRUPTED
    claim = world.jobs.read().training
    assert claim is not None
    assert claim.error == "not reachable"
    assert claim.expires_at <= world.store.now()
    world.studio.error = None
    assert world.next_attempt() == DONE
    assert world.outcome == "promoted"


@pytest.mark.parametrize(
    ("part", "trained"),
    [("dataset.json", [1]), ("label/files/", [1, 5]), ("versions/", [1, 5]), ("pointer.json", [1])],
)
def test_what_the_store_refuses_ends_the_attempt_at_once(
    file_store: ObjectStore, tmp_path: Path, part: str, trained: list[int]
) -> None:
    """A missing right is no outage that a GPU waits for; what was learnt is in the last checkpoint."""
    store = Refuses(file_store, part, times=2)
    world = World(store, tmp_path)
    assert world.new_run() == INTERRUPTED
    assert store.times == 1, "asked once"
    claim = world.jobs.read().training
    assert claim is not None
    assert "not allowed (403)" in (claim.error or "")
    store.times = 0
    assert world.next_attempt() == DONE
    assert (world.trainer.started, world.served()) == (trained, 1)


@pytest.mark.parametrize(("error", "code"), [(None, INTERRUPTED), (ProjectGone("it is gone"), FAILED)])
def test_an_end_that_the_store_refuses_to_note_is_an_end(
    file_store: ObjectStore, tmp_path: Path, error: Exception | None, code: int
) -> None:
    store = Refuses(file_store)
    world = World(store, tmp_path)
    world.studio.error = error
    claim = begin_run(file_store, epochs=4, val_fraction=0.4)
    claim = world.jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held
    store.times = 10**6
    assert world.run(claim, nonce="n") == code


def stop_at(epoch: int, error: BaseException) -> Callable[[int], None]:
    def stop(number: int) -> None:
        if number == epoch:
            raise error

    return stop


@pytest.mark.parametrize(
    ("error", "preempted"), [(Stopped(), 1), (RuntimeError("CUDA error"), 0), (KeyboardInterrupt(), 1)]
)
def test_the_next_attempt_goes_on_with_the_same_data(world: World, error: BaseException, preempted: int) -> None:
    world.trainer.on_epoch = [stop_at(3, error)]
    assert world.new_run() == INTERRUPTED
    assert world.progress().phase == "interrupted"
    claim = world.jobs.read().training
    assert claim is not None
    assert claim.preempted == preempted
    world.trainer.on_epoch = []
    world.studio.all.clear()
    assert world.next_attempt() == DONE
    assert world.trainer.started == [1, 4]
    assert (world.studio.exports, world.served()) == (1, 1)


def test_a_training_keeps_the_epochs_that_were_chosen_though_an_image_is_gone(world: World, tmp_path: Path) -> None:
    del world.studio.all[10:]
    world.trainer.on_epoch = [stop_at(3, Stopped())]
    assert world.new_run(epochs=0, val_fraction=0.2) == INTERRUPTED
    chosen = world.progress().epochs
    assert chosen > 3
    world.trainer.on_epoch = []
    shutil.rmtree(tmp_path / "work")  # another machine has no images of the first attempt
    border = world.jobs.read().val_border
    assert border
    world.studio.away = {next(one.id for one in world.studio.all if place_of(one.data["image"]) > border): "not_found"}
    assert world.next_attempt() == DONE
    lineage = world.registry.manifest("label", 1).lineage
    assert lineage["tasks"]["left_out"] == {"not_found": 1}
    assert (lineage["epochs"], world.progress().epochs) == (chosen, chosen)
    world.new_run(epochs=0, val_fraction=0.2)
    assert world.progress().epochs != chosen, "what a run on one image less chooses"
    assert world.trainer.started == [1, 4, 1]


@pytest.mark.parametrize(
    ("error", "told"), [(Stopped(), ["abort-1"]), (RuntimeError("CUDA error"), ["abort-1"]), (None, [])]
)
def test_the_processes_of_an_attempt_that_ended_are_told_to_end_too(
    world: World, tmp_path: Path, error: BaseException | None, told: list[str]
) -> None:
    """Those of several GPUs outlive the job: seen with torchrun, whose processes went on training."""
    found: list[list[str]] = []
    world.trainer.on_epoch = [
        lambda _: found.append(sorted(path.name for path in tmp_path.rglob("abort-*"))),
        *([stop_at(1, error)] if error else []),
    ]
    world.new_run()
    if isinstance(error, Stopped):
        assert [path.name for path in tmp_path.rglob("abort-*")] == told, "at once, not by the next attempt"
    if error:
        world.trainer.on_epoch.pop()
        world.next_attempt()
    assert found[-1] == told


def test_a_machine_that_ends_the_job_before_an_epoch_is_no_failure_but_is_counted(world: World) -> None:
    fit = world.trainer.fit
    world.trainer.fit = stopped  # type: ignore[method-assign]
    counts = []
    for attempt in range(3):
        assert (world.next_attempt() if attempt else world.new_run()) == INTERRUPTED
        claim = world.jobs.read().training
        assert claim is not None
        counts.append((claim.preempted, claim.stalled))
    assert counts == [(1, 1), (2, 2), (3, 3)]
    world.trainer.fit, world.trainer.on_epoch = fit, [stop_at(2, Stopped())]  # type: ignore[method-assign]
    assert world.next_attempt() == INTERRUPTED
    claim = world.jobs.read().training
    assert claim is not None
    assert (claim.preempted, claim.stalled) == (4, 0)


def test_a_claim_that_is_lost_ends_the_training(world: World) -> None:
    def lose(number: int) -> None:
        claim = world.jobs.read().training
        if number == 2 and claim:
            world.jobs.update(claims.next_attempt, claim, lifetime=600, error="it was silent")

    world.trainer.on_epoch = [lose]
    assert world.new_run() == DONE
    assert world.served() is None, "an attempt without claim changes nothing"
    assert world.registry.versions("label") == []
    claim = world.jobs.read().training
    assert claim is not None
    assert claim.attempt == 2


def test_an_attempt_that_published_only_has_to_promote(world: World) -> None:
    claim = begin_run(world.store, epochs=4, val_fraction=0.4)
    world.trainer.on_epoch = []
    assert world.run(claim, BeforeWrite(world.store, stopped, "pointer.json")) == INTERRUPTED
    assert world.next_attempt() == DONE
    assert world.trainer.started == [1], "nothing is trained again"
    assert (world.outcome, world.served()) == ("promoted", 1)
    assert len(world.registry.versions("label")) == 1


def stopped(*_: Any, **__: Any) -> Any:
    raise Stopped


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


def report_of(world: World, version: int, folder: Path) -> str:
    world.registry.download_file("label", world.registry.manifest("label", version).file(REPORT), folder / REPORT)
    return (folder / REPORT).read_text()


def test_a_report_names_the_number_that_its_version_got(world: World, tmp_path: Path) -> None:
    """Also if another attempt was faster than this one."""
    world.new_run()

    def be_faster() -> None:
        other = world.registry.manifest("label", 1)
        world.registry.publish("label", lambda number: evolve(other, version=number, run_id="faster"))

    claim = begin_run(world.store, epochs=4, val_fraction=0.4)
    assert world.run(claim, BeforeWrite(world.store, be_faster, "000002.json")) == DONE
    assert [one.run_id for one in world.registry.versions("label")][1:] == ["faster", claim.run_id]
    page = report_of(world, 3, tmp_path)
    assert "v3 passed the gate: as good as v1" in page
    assert f"labelloop retrain 3 --project={UID}" in page
    assert "v2" not in page.partition("<h2>Curves")[0]


def test_a_version_is_not_lost_for_its_report(world: World, tmp_path: Path) -> None:
    world.trainer.pictures = True  # of which the toy answers none
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 1)
    page = report_of(world, 1, tmp_path)
    assert "could not be made: pictures" in page
    assert '<th scope="row">mAP50-95</th>' in page


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

    def once(graph: Path, *given: Any, **named: Any) -> Measured:
        evaluated.append(graph)
        assert len(evaluated) == 1, "it is judged again and again"
        return evaluate(graph, *given, **named)

    world.trainer.evaluate = once  # type: ignore[method-assign]
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 2)


def test_a_training_leaves_time_for_validation_and_upload(world: World) -> None:
    world.new_run(longest_run=1000.0)
    assert world.trainer.stop_at[0] < time.time() + 950


def test_all_attempts_together_train_for_the_longest_run(world: World) -> None:
    """Also those that a machine ended: what is learned by then is judged."""
    clock = Clocked(world.store, world.store.now())
    world.store, world.jobs, world.registry = clock, Jobs(clock, UID), Registry(clock, UID)

    def taken_away(number: int) -> None:
        clock.time += timedelta(seconds=299)
        if number % 2 == 0:
            raise Stopped

    world.trainer.on_epoch = [taken_away]
    world.claim = begin_run(clock, longest_run=1000.0, epochs=8)
    assert world.run(world.claim) == INTERRUPTED
    assert world.next_attempt() == INTERRUPTED
    world.trainer.on_epoch = []
    begun = time.time()
    assert world.next_attempt() == DONE, world.message
    assert world.trainer.started == [1, 3, 5]
    first, second, third = (at - begun for at in world.trainer.stop_at)
    assert (first, second, third) == (
        pytest.approx(900, abs=60),
        pytest.approx(0.9 * (1000 - 598), abs=60),
        pytest.approx(0, abs=60),
    )
    assert (world.outcome, world.served()) == ("promoted", 1)


def test_attempts_that_left_no_checkpoint_and_no_time_fail_the_run(world: World) -> None:
    clock = Clocked(world.store, world.store.now())
    world.store, world.jobs, world.registry = clock, Jobs(clock, UID), Registry(clock, UID)

    def taken_away(*_: Any, **__: Any) -> Any:
        clock.time += timedelta(seconds=950)
        raise Stopped

    world.trainer.fit, fit = taken_away, world.trainer.fit  # type: ignore[method-assign]
    world.claim = begin_run(clock, longest_run=1000.0, epochs=4)
    assert world.run(world.claim) == INTERRUPTED
    world.trainer.fit = fit  # type: ignore[method-assign]
    assert world.next_attempt() == FAILED
    assert "images, and earlier attempts, took 950 of the 1000 s" in world.message


class Budgeted:
    """A world whose jobs may run for an hour a day; the day begins with `used` minutes."""

    def __init__(self, world: World, used: float) -> None:
        self.world, self.clock = world, Clocked(world.store, datetime(2026, 5, 1, 12, tzinfo=UTC))
        world.store, world.jobs, world.registry = self.clock, Jobs(self.clock, UID), Registry(self.clock, UID)
        world.budget = Budget(day=60)
        world.jobs.update(lambda record, _: evolve(record, used={"2026-05-01": used * 60}))


def test_a_training_takes_what_is_left_of_the_budget(world: World) -> None:
    Budgeted(world, used=50)
    assert world.new_run() == DONE
    assert world.trainer.stop_at[0] == pytest.approx(time.time() + 0.9 * 600, abs=60)
    assert "stopped" not in world.message


def test_a_training_whose_budget_is_used_up_ends_at_a_checkpoint_is_judged_and_says_so(
    world: World, tmp_path: Path
) -> None:
    """Also if others used it: each renewal of the claim looks."""
    budgeted = Budgeted(world, used=20)
    world.settings = {"LABELLOOP_CLAIM_LIFETIME": 0.3}

    def an_hour_passes(number: int) -> None:
        if number == 2:
            budgeted.clock.time += timedelta(minutes=45)
            eventually(lambda: list(tmp_path.rglob("abort-1-enough")), "the heartbeat sees it")

    world.trainer.on_epoch = [an_hour_passes]
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 1)
    sentence = "the training stopped after 2 of 4 epochs: 65 of the 60 minutes that the project's jobs may run in a day"
    assert sentence in world.message
    manifest = world.registry.manifest("label", 1)
    assert sentence in manifest.lineage["remarks"]
    world.registry.download_file("label", manifest.file("report.html"), tmp_path / "report.html")
    assert "the training stopped after 2 of 4 epochs" in (tmp_path / "report.html").read_text()


def test_with_too_little_of_the_budget_left_to_train_the_next_attempt_goes_on_when_there_is_more(world: World) -> None:
    budgeted = Budgeted(world, used=57)
    assert world.new_run() == INTERRUPTED
    claim = world.jobs.read().held
    assert (claim.error or "").startswith("too little time is left to train: 57 of the 60 minutes")
    assert (claim.preempted, world.trainer.started) == (1, [])
    budgeted.clock.time += timedelta(hours=12)
    assert world.next_attempt() == DONE
    assert (world.outcome, world.studio.exports) == ("promoted", 1)


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


def with_birds(world: World) -> None:
    """Every task has a region of each of two controls now."""
    for place, one in enumerate(world.studio.all):
        both = annotation(one.id, [rectangle(), rectangle("Bird", control="second")], updated_at="2026-05-01T00:00:00Z")
        world.studio.all[place] = replace(one, annotations=(both,))


@pytest.fixture
def two(world: World) -> World:
    """A project whose tasks have a region of each of two controls."""
    world.studio.config = TWO_CONTROLS
    with_birds(world)
    return world


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

    def worse(graph: Path, data: Path, *given: Any, **named: Any) -> Measured:
        if "second" in data.parts and "champion" not in graph.parts:
            return Measured(found_part(0.1), known=(0,))
        return evaluate(graph, data, *given, **named)

    two.trainer.evaluate = worse  # type: ignore[method-assign]
    assert two.new_run() == DONE
    assert two.outcome == "promoted"
    assert (two.served("label"), two.served("second")) == (2, 1)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the tries of one image."""
    monkeypatch.setattr(ImageFiles._fetch.retry, "sleep", lambda _: None)


def one_of_each_side(world: World) -> tuple[int, list[int]]:
    """A val task, and the train tasks, after a first run."""
    assert world.new_run() == DONE
    world.studio.fetched = []
    path = keys.run(UID, world.claim.run_id, "dataset.json")
    stored = world.store.get(path)
    assert stored is not None
    header, *tasks = (json.loads(line) for line in stored.data.splitlines())
    sides = {task["id"]: split_of(task["data"]["$image"], header["border"]) for task in tasks}
    train = [number for number, side in sides.items() if side == "train"]
    return next(number for number, side in sides.items() if side == "val"), train


@pytest.mark.usefixtures("no_waiting")
class TestOutage:
    """Images that are not to be had for now are no data."""

    @pytest.mark.parametrize("reason", ["unreachable", "timeout", "unauthorized", "no_memory"])
    def test_a_model_of_what_is_left_replaces_nothing(self, world: World, reason: str) -> None:
        world.studio.all = Studio(101).all
        world.trainer.score = 0.9
        world.new_run()
        world.trainer.score = 0.02
        world.studio.away = dict.fromkeys(range(13, 101), reason)
        assert world.new_run() == INTERRUPTED
        claim = world.jobs.read().training
        assert claim is not None
        assert "could not be fetched" in (claim.error or "")
        assert reason in (claim.error or "")
        assert world.served() == 1
        assert len(world.registry.versions("label")) == 1, "nothing was trained"
        world.studio.away, world.trainer.score = {}, 0.95
        assert world.next_attempt() == DONE
        assert world.served() == 2

    def test_the_next_attempt_asks_for_what_is_missing_only(self, world: World) -> None:
        val, _ = one_of_each_side(world)
        world.studio.away = {val: "unreachable"}
        assert world.new_run() == INTERRUPTED
        claim = world.jobs.read().training
        assert claim is not None
        assert "1 of 39 images could not be fetched (1 of" in (claim.error or "")
        assert f"task {val}: it is unreachable" in (claim.error or "")
        world.studio.away, world.studio.fetched = {}, []
        assert world.next_attempt() == DONE
        assert (world.studio.fetched, world.served()) == ([val], 2)

    def test_a_small_part_of_the_train_tasks_may_be_missing_and_is_named(self, world: World) -> None:
        _, (first, second, *_) = one_of_each_side(world)
        world.studio.away = {first: "timeout"}
        assert world.new_run() == DONE
        assert f"(1 of 39 tasks were left out (1 timeout), task {first}: it is timeout)" in world.message
        assert world.registry.manifest("label", 2).lineage["tasks"]["left_out"] == {"timeout": 1}
        world.studio.away |= {second: "timeout"}
        assert world.new_run() == INTERRUPTED

    def test_one_host_that_is_gone_for_ever_does_not_stop_a_project(self, world: World) -> None:
        """The last attempt leaves it out, also of the val set: both versions are measured without it."""
        val, _ = one_of_each_side(world)
        world.studio.away = {val: "unreachable"}
        codes = [world.new_run(), *(world.next_attempt() for _ in range(4))]
        assert codes == [INTERRUPTED] * 4 + [DONE]
        assert f"task {val}: it is unreachable" in world.message
        assert world.served() == 2

    def test_an_outage_that_lasts_fails_the_run_and_uses_up_nothing(self, world: World) -> None:
        world.studio.away = dict.fromkeys(range(1, 101), "unreachable")
        assert world.new_run() == INTERRUPTED
        assert [world.next_attempt() for _ in range(5)] == [INTERRUPTED] * 5
        assert world.jobs.read().baseline is None

    @pytest.mark.parametrize("reason", ["not_found", "forbidden", "refused"])
    def test_when_most_images_are_gone_what_is_left_is_no_data_either(self, world: World, reason: str) -> None:
        """A bucket that was moved, signed addresses that are over, a host that nobody allows any more."""
        world.new_run()
        world.studio.away = dict.fromkeys(range(1, 21), reason)
        baseline = world.jobs.read().baseline
        assert world.new_run() == FAILED
        assert f"20 of 39 images are gone, so what is left is not this project's data; task 1: it is {reason}" in (
            world.message
        )
        assert (world.served(), world.jobs.read().baseline) == (1, baseline)
        del world.studio.away[20]
        assert world.new_run() == DONE
        assert f"19 of 39 tasks were left out (19 {reason}), the first is task 1: it is {reason}" in world.message

    def test_a_task_that_is_nested_too_deep_is_named_and_stops_nothing(self, world: World) -> None:
        deep: Any = 1
        for _ in range(300):
            deep = [deep]
        world.studio.all[6] = replace(world.studio.all[6], data={"image": deep})
        assert world.new_run() == DONE
        assert "(1 of 39 tasks were left out (1 no_data), task 7: the data of task 7 has nothing for" in world.message
        assert world.served() == 1

    def test_a_rejected_version_names_what_was_left_out_too(self, world: World) -> None:
        world.new_run()
        world.studio.away, world.trainer.score = {3: "not_found"}, 0.01
        assert world.new_run() == DONE
        assert world.outcome == "rejected"
        assert "(1 of 39 tasks were left out (1 not_found), task 3: it is not_found)" in world.message

    @pytest.mark.parametrize("controls", [CONFIG, TWO_CONTROLS])
    def test_thousands_of_hanging_images_are_not_asked_for(self, world: World, controls: str) -> None:
        """Nor by the next control: at 30 s an image they would burn the GPU for hours."""
        world.studio.config = controls
        both = [rectangle(), rectangle("Bird", control="second")]
        world.studio.all = [
            ExportedTask(number, {"image": f"x{number}"}, (annotation(number, both),)) for number in range(1, 3001)
        ]
        world.studio.away = dict.fromkeys(range(101, 3001), "timeout")
        assert world.new_run() == INTERRUPTED
        claim = world.jobs.read().training
        assert claim is not None
        assert "32 images in a row could not be fetched; the last: it is timeout" in (claim.error or "")
        assert len(world.studio.fetched) < 100 + 3 * (32 + 4) + 1, "three tries each, four at once"

    def test_images_that_took_all_the_time_are_named_and_nothing_is_trained(self, world: World) -> None:
        clock = Clocked(world.store, world.store.now())
        world.jobs, world.registry = Jobs(clock, UID), Registry(clock, UID)
        tasks = world.studio.tasks

        def slowly(project_id: int, is_same: Callable[[int, str], bool]) -> Iterator[ExportedTask]:
            clock.time += timedelta(seconds=950)
            yield from tasks(project_id, is_same)

        world.studio.tasks = slowly  # type: ignore[method-assign]
        world.claim = begin_run(clock, longest_run=1000.0, epochs=4)
        assert world.run(world.claim, clock) == FAILED
        assert "took 950 of the 1000 s that a run may take: too little is left to train. Set LABELLOOP_LONGEST_RUN" in (
            world.message
        )
        assert (world.trainer.started, world.jobs.read().baseline) == ([], None)


CHOICES = '<Choices name="kind" toName="img"><Choice value="Oak"/><Choice value="Fir"/></Choices>'


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
