"""Projects that are connected without inbound calls: what the store keeps of it, and what Label Studio is spared."""

from collections.abc import Iterable

import pytest

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import check_project
from infra.cli.connect import connect, connect_at_start
from infra.cli.disconnect import disconnect
from infra.cli.doctor import examine
from infra.cli.findings import problems
from infra.cli.outbound import check_outbound
from shared.evolve import evolve
from shared.labelstudio.api import BY_SCORE
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import keys
from shared.state.projects import Connection, Project, read_project, write_project
from shared.web.access import SECRET_HEADER
from tests.fakes.label_studio_project import CONFIG, UID, OneProject

SETTINGS = Settings.from_environ({"HOST": "127.0.0.1"})  # no function has an address


@pytest.fixture
def studio() -> OneProject:
    return OneProject()


def changed(findings: Iterable[Finding]) -> list[str]:
    return [finding.check for finding in findings if finding.level == "changed"]


def levels(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def known(store: ObjectStore) -> tuple[bool, Connection]:
    project = read_project(store, UID)
    assert project is not None
    return project.push, project.connection


def test_the_store_alone_learns_of_it_and_a_second_call_changes_nothing(
    studio: OneProject, file_store: ObjectStore
) -> None:
    first = connect(studio, SETTINGS, 7, store=file_store, inbound=False)
    assert not problems(first)
    assert changed(first) == ["connection"]
    assert read_project(file_store, UID) == Project(
        label_config=CONFIG, title="trees", push=True, connection="outbound"
    )
    second = connect(studio, SETTINGS, UID, store=file_store, inbound=False)
    assert (problems(second), changed(second)) == ([], [])
    assert studio.changes == []
    for told in (first[-1], second[-1]):
        assert "neither backend nor webhook" in told.message
        assert "every 30 s" in told.message


@pytest.mark.parametrize(("variable", "value"), [("LABELLOOP_PUSH", "off"), ("LABELLOOP_DUMMY", "true")])
def test_where_nothing_would_ever_be_shown_nothing_is_connected(
    studio: OneProject, file_store: ObjectStore, variable: str, value: str
) -> None:
    settings = Settings.from_environ({"HOST": "127.0.0.1", variable: value})
    (problem,) = problems(connect(studio, settings, 7, store=file_store, inbound=False))
    assert variable in problem.message
    assert (read_project(file_store, UID), studio.changes) == (None, [])


def test_what_label_studio_called_before_is_removed_and_what_is_not_ours_stays(
    studio: OneProject, file_store: ObjectStore
) -> None:
    studio.project_answer |= {"model_version": "labelloop", "show_collab_predictions": False}
    sam, ours = [
        {"id": number, "title": title, "url": f"http://{title}.b"} for number, title in enumerate(("SAM", "labelloop"))
    ]
    foreign, automatic = [
        {"id": number, "url": f"http://{host}/webhook", "headers": {}}
        for number, host in enumerate(("x.y", "labelloop.b"))
    ]
    secret = {"id": 2, "url": "http://t.b/webhook", "headers": {SECRET_HEADER: "s"}}
    studio.backends, studio.webhooks = [sam, ours], [foreign, automatic, secret]
    write_project(file_store, UID, label_config=CONFIG, overrides={"epochs": 9})

    findings = connect(studio, SETTINGS, 7, store=file_store, inbound=False)

    assert changed(findings) == ["webhook", "webhook", "backend", "predictions", "connection"]
    assert (studio.backends, studio.webhooks) == ([sam], [foreign])
    assert (studio.project_answer["model_version"], studio.project_answer["show_collab_predictions"]) == ("", True)
    project = read_project(file_store, UID)
    assert project is not None
    assert project.overrides == {"epochs": 9}


def test_a_project_that_label_studio_calls_stays_so_when_up_names_it(
    studio: OneProject, file_store: ObjectStore
) -> None:
    write_project(file_store, UID, label_config=CONFIG)
    (finding,) = connect_at_start(studio, SETTINGS, "7", store=file_store, tell=lambda _: None)
    assert "Label Studio calls labelloop" in finding.message
    assert known(file_store) == (False, "inbound")
    disconnect(studio, 7, store=file_store, tell=lambda _: None)
    connect_at_start(studio, SETTINGS, "7", store=file_store, tell=lambda _: None)
    assert known(file_store) == (True, "outbound")


def test_up_says_what_is_wrong_with_a_project(studio: OneProject, file_store: ObjectStore) -> None:
    told: list[Finding] = []
    found = connect_at_start(studio, SETTINGS, "8", store=file_store, tell=told.append)
    (problem,) = problems(found)
    assert "no project 8" in problem.message
    assert told == found


def test_disconnecting_ends_what_the_sweep_would_start(studio: OneProject, file_store: ObjectStore) -> None:
    connect(studio, SETTINGS, 7, store=file_store, inbound=False)
    studio.project_answer["model_version"] = "label:v3"
    first = disconnect(studio, 7, store=file_store, tell=lambda _: None)
    assert changed(first) == ["push", "predictions", "connection"]
    assert known(file_store) == (False, "none")
    assert studio.project_answer["model_version"] == ""
    assert disconnect(studio, 7, store=file_store, tell=lambda _: None) == []


def test_connect_says_in_which_order_tasks_come_and_puts_it_back_when_it_is_off(
    studio: OneProject, file_store: ObjectStore
) -> None:
    ordering = evolve(SETTINGS, order="useful")
    findings = connect(studio, ordering, 7, store=file_store, inbound=False)
    assert BY_SCORE in findings[-1].message
    assert studio.changes == [], "a job does it, with the first version"
    by_a_job(studio, file_store)
    connect(studio, ordering, 7, store=file_store, inbound=False)
    assert studio.project_answer["sampling"] == BY_SCORE
    assert changed(connect(studio, SETTINGS, 7, store=file_store, inbound=False)) == ["order"]
    assert studio.project_answer["sampling"] == "Uniform sampling"
    assert changed(connect(studio, SETTINGS, 7, store=file_store, inbound=False)) == []


def test_disconnect_puts_the_order_back_unless_a_person_changed_it(studio: OneProject, file_store: ObjectStore) -> None:
    for chosen_since, after in ((None, "Uniform sampling"), ("Sequential sampling", "Sequential sampling")):
        connect(studio, SETTINGS, 7, store=file_store, inbound=False)
        by_a_job(studio, file_store)
        studio.project_answer["sampling"] = chosen_since or BY_SCORE
        disconnect(studio, 7, store=file_store, tell=lambda _: None)
        assert studio.project_answer["sampling"] == after
        project = read_project(file_store, UID)
        assert project is not None
        assert project.sampling_before == ""


def by_a_job(studio: OneProject, store: ObjectStore) -> None:
    """What a job does that shows a version."""
    write_project(store, UID, label_config=CONFIG, sampling_before="Uniform sampling")
    studio.project_answer["sampling"] = BY_SCORE


def test_an_order_beside_a_control_group_is_none(studio: OneProject, file_store: ObjectStore) -> None:
    both = evolve(SETTINGS, order="easy", control_group=0.05)
    (warning,) = [
        found for found in connect(studio, both, 7, store=file_store, inbound=False) if found.level == "warning"
    ]
    assert "LABELLOOP_CONTROL_GROUP" in warning.message


def test_doctor_knows_how_a_project_is_connected(studio: OneProject, file_store: ObjectStore) -> None:
    connect(studio, SETTINGS, 7, store=file_store, inbound=False)
    outbound = levels(examine(studio, SETTINGS, file_store, "7"))
    disconnect(studio, 7, store=file_store, tell=lambda _: None)
    disconnected = levels(examine(studio, SETTINGS, file_store, "7"))

    assert outbound["connection"] == "ok"
    assert disconnected["connection"] == "problem"
    assert not {"predict", "backend", "webhook"} & outbound.keys()
    assert outbound["train_trigger"] == "problem", "nobody would sweep"


@pytest.mark.parametrize(
    "key", [keys.project(UID), keys.jobs(UID), keys.pointer(UID, "label"), keys.base_weights("yolo11n.pt")]
)
def test_doctor_names_a_damaged_record_and_checks_the_rest(
    key: str, studio: OneProject, file_store: ObjectStore
) -> None:
    connect(studio, SETTINGS, 7, store=file_store, inbound=False)
    whole = levels(examine(studio, SETTINGS, file_store, "7"))
    file_store.put(key, b"")
    found = examine(studio, SETTINGS, file_store, "7")
    (problem,) = [one for one in found if one.check == "records"]
    assert problem.level == "problem"
    assert key in problem.message
    of_connection = {"connection", "push", "predictions", "smart"}
    assert set(whole) - set(levels(found)) <= (of_connection if key == keys.project(UID) else {"labels"})


def test_doctor_checks_the_only_project_of_the_store_and_names_several(
    studio: OneProject, file_store: ObjectStore
) -> None:
    assert "project" not in levels(examine(studio, SETTINGS, file_store, None))
    connect(studio, SETTINGS, 7, store=file_store, inbound=False)
    assert levels(examine(studio, SETTINGS, file_store, None))["connection"] == "ok"

    write_project(file_store, "8.1795334222", label_config=CONFIG)
    (several,) = [one for one in examine(studio, SETTINGS, file_store, None) if one.check == "project"]

    assert "2 projects: 7." in several.message
    assert "8.1795334222" in several.message
    assert levels(examine(studio, SETTINGS, file_store, ""))["project"] == "problem", "a variable that is not set"


@pytest.mark.parametrize(
    ("push", "answer", "expected"),
    [
        ("on", {"model_version": "label:v3"}, ("ok", "ok")),
        ("on", {}, ("ok", "warning")),
        ("on", {"model_version": "labelloop"}, ("ok", "warning")),  # nobody answers that
        ("on", {"show_collab_predictions": False}, ("ok", "problem")),
        ("off", {"model_version": "label:v3"}, ("problem", "ok")),
    ],
)
def test_doctor_asks_for_written_predictions_and_for_no_address(
    studio: OneProject, push: str, answer: dict[str, object], expected: tuple[str, str]
) -> None:
    studio.project_answer |= answer
    _, project = check_project(studio, "7")
    assert project is not None
    found = levels(check_outbound(Settings.from_environ({"HOST": "127.0.0.1", "LABELLOOP_PUSH": push}), project))
    assert found == {"connection": "ok", "push": expected[0], "predictions": expected[1]}
