"""The use case with a toy trainer: every way in which a run can end."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.train.data.annotations import ExportedTask
from jobs.train.data.split import place_of
from jobs.train.ending import DONE, FAILED, INTERRUPTED
from shared.digest import sha256_of
from shared.errors import LabelStudioError, ProjectGone
from shared.evolve import evolve
from shared.job_signals import Stopped
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.prediction.region_ids import SMART
from shared.state import claims, jobs_fields, launches
from shared.state.versions import DATASET, GRAPH, REPORT, WEIGHTS
from tests.fakes.stores import BeforeWrite, Refuses
from tests.fakes.train_parts import (
    CONFIG,
    CREATED,
    UID,
    annotation,
    begin_run,
    rectangle,
)
from tests.fakes.train_world import CHOICES, World, bad_weights, report_of


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


def test_a_first_version_takes_no_number_whose_predictions_are_there(world: World) -> None:
    """Those of a store that was lost: predictions of a second v1 were not written, since those of the first were there.

    A control that has versions counts on.
    """
    world.studio.shown = ["label:v1", "label:v3+second:v9", "label:v3x", "other-label:v8", "labelloop", "label:dummy"]
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 4)
    world.studio.shown.append("label:v12")
    world.studio.all = world.studio.all[:-3]
    world.new_run()
    assert world.registry.numbers("label") == [4, 5]


def test_a_first_version_is_made_where_nobody_says_whose_predictions_are_there(world: World) -> None:
    def refused(project_id: int) -> list[str]:
        raise LabelStudioError("answers 403", status=403)

    world.studio.shown_versions = refused  # type: ignore[method-assign]
    assert world.new_run() == DONE
    assert world.served() == 1


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


@pytest.mark.parametrize(
    "little",
    [
        pytest.param(lambda every: every[:1], id="one task"),
        pytest.param(lambda every: [replace(one, annotations=(annotation(one.id),)) for one in every], id="no object"),
        pytest.param(
            lambda every: [replace(one, annotations=(annotation(one.id, [rectangle("Bird")]),)) for one in every[:1]],
            id="an unknown label",
        ),
    ],
)
def test_a_run_that_had_too_little_leaves_the_val_set_to_the_next_one(
    world: World, little: Callable[[list[ExportedTask]], list[ExportedTask]]
) -> None:
    """Its border may be 0, under which no image is for validation, and a border never rises."""
    every = world.studio.all
    world.studio.all = little(every)
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("nothing_to_learn", None)
    world.studio.all = every
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 1)


def test_a_control_that_was_renamed_is_learnt_as_soon_as_it_is_used(world: World) -> None:
    assert world.new_run() == DONE
    border = world.jobs.read().val_border
    world.studio.config = CONFIG.replace('name="label"', 'name="tree"')
    world.new_run()
    assert world.outcome == "nothing_to_learn"
    world.studio.all = [
        replace(one, annotations=(annotation(one.id, [rectangle(control="tree")]),)) for one in world.studio.all
    ]
    assert world.new_run() == DONE
    assert (world.outcome, world.served("tree")) == ("promoted", 1)
    assert world.jobs.read().val_border == border


def test_a_border_under_which_nothing_is_measured_is_none(world: World) -> None:
    """As an older labelloop kept it after a run on one task."""
    world.jobs.update(jobs_fields.lower_val_border, 0.0)
    assert world.new_run() == DONE
    assert (world.outcome, world.served()) == ("promoted", 1)
    assert world.jobs.read().val_border == world.registry.manifest("label", 1).lineage["border"] > 0


def test_a_run_notes_in_how_many_tasks_each_label_stands(world: World) -> None:
    world.studio.all[0] = replace(world.studio.all[0], annotations=(annotation(1, [rectangle("Bird"), rectangle()]),))
    assert world.new_run() == DONE
    baseline = world.jobs.read().baseline
    assert baseline is not None
    assert baseline.labels == {"label": {"Tree": 39, "Bird": 1}}
    assert "1 labels of regions are not in the labeling config: those are not learnt" in world.message


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
            world.jobs.update(launches.next_attempt, claim, lifetime=600, error="it was silent")

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
