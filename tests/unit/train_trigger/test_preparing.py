"""Runs that make what a connected project's controls lack to be served, before there is anything to learn."""

from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import LabelStudioError
from shared.evolve import evolve
from shared.state import claims
from shared.state.base_weights import add_base_weights
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.state.versions import GRAPH, WEIGHTS, FileEntry
from tests.fakes.stores import Clocked
from tests.fakes.trigger_parts import CONFIG, UID, World
from tests.samples.versions import manifest


@pytest.fixture
def connected(world: World) -> World:
    """Nothing is annotated yet, and the store holds no base weights."""
    world.label_studio.annotations = 0
    write_project(world.store, UID, label_config=CONFIG)
    return world


def add(world: World, name: str = "yolo11n.pt") -> None:
    add_base_weights(world.store, name, "detect", ("person",), {WEIGHTS: Path(__file__), GRAPH: Path(__file__)})


def test_a_connected_project_without_base_weights_gets_a_run_without_annotations(connected: World) -> None:
    outcome = connected.reconcile()
    assert (outcome.status, connected.claim.kind) == ("launched", "base")
    assert outcome.reason == "the base weights yolo11n.pt must be made before predictions"
    assert connected.reconcile().status == "active"
    add(connected)
    connected.jobs.update(claims.release, connected.job_runs(), outcome="prepared")
    last = connected.jobs.read().last_run
    assert last is not None
    assert (last.kind, last.outcome) == ("base", "prepared")
    assert connected.reconcile().status == "nothing"
    assert len(connected.launcher.launched) == 1


def test_the_first_training_does_not_wait_for_a_cool_down_after_it(connected: World) -> None:
    connected.reconcile()
    connected.jobs.update(claims.release, connected.job_runs(), outcome="prepared")
    connected.label_studio.annotations = 20
    assert connected.reconcile().status == "launched"
    assert connected.claim.kind == "train", "it makes base weights by itself"


def test_a_training_that_a_person_asks_for_meanwhile_begins_when_it_has_ended(connected: World) -> None:
    base = connected.reconcile().run_id
    connected.label_studio.annotations = 1
    asked = connected.reconcile(forced=True)
    assert (asked.status, asked.run_id != base) == ("waiting", True)
    assert asked.reason == f"run {base} makes what predictions need; the training begins when that has ended"
    assert connected.reconcile(forced=True) == asked, "pressed again"
    assert connected.reconcile(sweeping=True).run_id == base
    claim = connected.job_runs()
    connected.jobs.update(claims.release, claim, outcome="failed", message="there is no such file")
    assert connected.reconcile().run_id == asked.run_id
    assert (connected.claim.kind, connected.claim.forced) == ("train", True)
    connected.job_ends(connected.job_runs())
    assert connected.reconcile().status == "nothing", "it is asked for once"
    assert [run for run, _ in connected.launcher.launched] == [base, asked.run_id]


def test_a_training_that_cannot_be_is_refused_at_once_or_forgotten(connected: World) -> None:
    base = connected.reconcile().run_id
    refused = connected.reconcile(forced=True)
    assert (refused.status, refused.reason) == ("nothing", "nothing is annotated yet")
    assert connected.jobs.read().next_run is None
    connected.label_studio.annotations = 1
    connected.reconcile(forced=True)
    connected.label_studio.annotations = 0
    add(connected)
    connected.jobs.update(claims.release, connected.job_runs(), outcome="prepared")
    assert connected.reconcile().reason == "nothing is annotated yet"
    connected.label_studio.annotations = 1
    assert connected.reconcile().reason == "1 of 5 annotated tasks for the first training"
    assert [run for run, _ in connected.launcher.launched] == [base]


def test_while_label_studio_is_gone_nothing_that_was_asked_for_is_lost(connected: World) -> None:
    connected.reconcile()
    connected.label_studio.annotations = 1
    asked = connected.reconcile(forced=True).run_id
    connected.jobs.update(claims.release, connected.job_runs(), outcome="prepared")
    connected.label_studio.error = LabelStudioError("it is not there")
    assert connected.reconcile().status == "failed"
    connected.label_studio.error = None
    assert connected.reconcile().run_id == asked


@pytest.mark.parametrize("why", ["base weights are there", "nobody connected it", "a training is due", "dummy"])
def test_no_such_run_is_started(tmp_path: Path, why: str) -> None:
    world = World(tmp_path, dummy=why == "dummy")
    if why != "nobody connected it":
        write_project(world.store, UID, label_config=CONFIG)
    if why == "base weights are there":
        add(world)
    world.label_studio.annotations = 20 if why == "a training is due" else 0
    status = world.reconcile().status
    assert status == ("launched" if why == "a training is due" else "nothing")
    assert [kept.kind for kept in [world.jobs.read().training] if kept] == ["train"] * (status == "launched")


def test_what_cannot_be_made_is_tried_again_after_growing_pauses(connected: World) -> None:
    clock = Clocked(connected.store, connected.store.now())
    trigger, jobs = connected.another_trigger(clock), Jobs(clock, UID)
    failed_at, pauses = clock.time, []
    for number in range(3):
        while trigger.reconcile(UID).status == "nothing":
            clock.time += timedelta(minutes=5)
        pauses.append((clock.time - failed_at).total_seconds() / 60)
        claim = jobs.update(claims.start, connected.claim.run_id, nonce=str(number), lifetime=600).held
        jobs.update(claims.release, claim, outcome="failed", message="there is no such file")
        failed_at = clock.time
    assert pauses == [0, 10, 40]
    connected.label_studio.annotations = 20
    assert trigger.reconcile(UID).status == "launched", "a training does not wait for it"
    assert connected.claim.kind == "train"


def test_one_project_s_run_makes_base_weights_for_all(connected: World) -> None:
    clock, others = Clocked(connected.store, connected.store.now()), [UID.replace("1.", f"{id}.") for id in (2, 3)]
    trigger = connected.another_trigger(clock)
    for uid in others:
        write_project(connected.store, uid, label_config=CONFIG)
    assert [trigger.reconcile(uid).status for uid in (UID, *others)] == ["launched", "nothing", "nothing"]
    clock.time += timedelta(minutes=10)
    assert [trigger.reconcile(uid).status for uid in others] == ["launched", "nothing"], "that run does not come to it"
    connected.label_studio.label_config = CONFIG.replace("RectangleLabels", "PolygonLabels")
    assert trigger.reconcile(others[1]).status == "launched", "it lacks something else"


def test_a_version_of_an_older_labelloop_is_converted(connected: World) -> None:
    registry = Registry(connected.store, UID)
    registry.publish("label", manifest)
    registry.promote("label", 1, fence=1000, run_id="run", expected=None)
    outcome = connected.reconcile()
    assert outcome.reason == "the graph of v1 of 'label' must be made before predictions"
    assert (connected.claim.kind, connected.claim.fence > 1000) == ("base", True)


def test_a_rollback_to_such_a_version_is_seen_by_the_process_that_knew_of_no_lack(connected: World) -> None:
    registry, graph = Registry(connected.store, UID), FileEntry(name=GRAPH, sha256="1" * 64, size=1)
    registry.publish("label", manifest)
    registry.publish("label", lambda number: evolve(manifest(number, "next"), files=(*manifest(1).files, graph)))
    registry.promote("label", 2, fence=1000, run_id="next", expected=None)
    assert [connected.reconcile().status for _ in range(3)] == ["nothing"] * 3
    fence = connected.jobs.update(claims.next_fence, registry.fence()).fence
    assert connected.reconcile().status == "nothing", "the pointer is not moved yet"
    registry.promote("label", 1, fence=fence, run_id="rollback", expected=2, reason="rollback")
    assert connected.reconcile().reason == "the graph of v1 of 'label' must be made before predictions"


def test_a_version_that_predict_rejected_is_followed_by_the_conversion_of_the_one_before(connected: World) -> None:
    """A rejection takes no fence."""
    clock = Clocked(connected.store, connected.store.now())
    trigger, registry = connected.another_trigger(clock), Registry(connected.store, UID)
    graph = FileEntry(name=GRAPH, sha256="1" * 64, size=1)
    registry.publish("label", manifest)
    registry.publish("label", lambda number: evolve(manifest(number, "next"), files=(*manifest(1).files, graph)))
    registry.promote("label", 2, fence=1000, run_id="next", expected=None)
    assert [trigger.reconcile(UID).status for _ in range(2)] == ["nothing"] * 2
    registry.reject("label", 2, "no engine can read it")
    assert trigger.reconcile(UID).status == "nothing"
    clock.time += timedelta(minutes=10)
    assert trigger.reconcile(UID).reason == "the graph of v1 of 'label' must be made before predictions"


def test_once_nothing_is_lacking_nobody_looks_again_for_a_while_or_until_the_config_changes(connected: World) -> None:
    add(connected)
    assert [connected.reconcile().status for _ in range(2)] == ["nothing"] * 2
    connected.store.delete("base/yolo11n%2Ept/base.json")
    assert connected.reconcile().status == "nothing"
    connected.label_studio.label_config = CONFIG.replace("RectangleLabels", "PolygonLabels")
    assert connected.reconcile().reason == "the base weights yolo11n-seg.pt must be made before predictions"
