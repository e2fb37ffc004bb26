"""The routes that both functions answer themselves."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.evolve import evolve
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.settings import variable
from shared.state.model_version import base_version, stamp
from shared.state.projects import Project, parse_overrides, read_project, with_overrides, write_project
from shared.state.registry import Registry
from shared.web.backend import Backend
from shared.web.served_versions import ServedVersions
from tests.fakes.backend_parts import SECRET, ask, settings, setup_body
from tests.fakes.predict_parts import UID, label_config, publish

(CONTROL,) = parse_label_config(label_config())


@pytest.mark.parametrize("path", ["/", "/health"])
def test_health(file_store: ObjectStore, path: str) -> None:
    assert ask(Backend(settings(), file_store), "GET", path) == (200, {"status": "UP", "model_class": "labelloop"})


def test_setup_answers_the_version_that_is_served(file_store: ObjectStore, tmp_path: Path) -> None:
    backend = Backend(settings(LABELLOOP_POINTER_MAX_AGE=0), file_store)
    (tmp_path / "weights.pt").write_text("weights")
    config = label_config("label", "poly")
    assert ask(backend, "POST", "/setup", setup_body(config)) == (
        200,
        {"model_version": "label:base-tree-base+poly:base-tree-base"},
    )
    publish(file_store, tmp_path / "weights.pt")
    publish(file_store, tmp_path / "weights.pt", control="poly")
    publish(file_store, tmp_path / "weights.pt", control="poly")
    assert ask(backend, "POST", "/setup", setup_body(config))[1] == {"model_version": "label:v1+poly:v2"}
    Registry(file_store, UID).reject("poly", 2, "broken")
    assert ask(backend, "POST", "/setup", setup_body(config))[1] == {"model_version": "label:v1+poly:v1"}


def test_in_front_of_predict_setup_answers_what_predict_holds(file_store: ObjectStore, tmp_path: Path) -> None:
    """A bug that was seen: train_trigger answered the pointer's version, while predict, without room on its disk,
    stamped the one before.
    """
    (tmp_path / "weights.pt").write_text("weights")
    first, second = (publish(file_store, tmp_path / "weights.pt") for _ in range(2))
    predict, trigger = (Backend(settings(LABELLOOP_POINTER_MAX_AGE=0), file_store) for _ in range(2))

    def setup() -> tuple[str, str]:
        told = [ask(backend, "POST", "/setup", setup_body())[1]["model_version"] for backend in (predict, trigger)]
        return told[0], told[1]

    for instead, version in ((first, "label:v1"), (None, "label:base-tree-base")):
        predict.pointers.hold(UID, "label", second, instead)
        trigger.pointers.apply_held_header(predict.pointers.held_header(UID))
        assert setup() == (version, version)
    publish(file_store, tmp_path / "weights.pt")
    assert setup() == ("label:v3", "label:v3"), "what was held was held instead of another one"
    predict.pointers.hold(UID, "label", second, first)
    predict.pointers.release(UID, "label")
    trigger.pointers.apply_held_header(predict.pointers.held_header(UID))
    assert setup() == ("label:v3", "label:v3")


@pytest.mark.parametrize(
    "told",
    ["", "[]", "null", "{}", '{"project": "1.1", "held": {"label": [1]}}', '{"project": "1.1", "held": {"l": [2, 1]}}'],
)
def test_what_predict_cannot_have_said_changes_nothing(
    file_store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, told: str
) -> None:
    (tmp_path / "weights.pt").write_text("weights")
    publish(file_store, tmp_path / "weights.pt")
    backend = Backend(settings(), file_store)
    backend.pointers.apply_held_header(told)
    assert ask(backend, "POST", "/setup", setup_body())[1] == {"model_version": "label:v1"}
    assert "what predict serves is not known" in caplog.text


def test_each_control_is_stamped_with_base_weights_of_its_own(file_store: ObjectStore) -> None:
    config = label_config().replace(
        "</View>", '<PolygonLabels name="poly" toName="image"><Label value="Tree"/></PolygonLabels></View>'
    )
    weights = "/models/tree-base.pt,/models/tree-seg.pt"
    backend = Backend(settings(LABELLOOP_BASE_WEIGHTS=weights), file_store)
    version = ask(backend, "POST", "/setup", setup_body(config))[1]["model_version"]
    assert version == "label:base-tree-base+poly:base-tree-seg"


def test_a_version_for_another_yolo_task_is_not_served(
    file_store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "weights.pt").write_text("weights")
    publish(file_store, tmp_path / "weights.pt", uid="9.9")
    backend = Backend(settings(LABELLOOP_POINTER_MAX_AGE=0), file_store)
    rotated = label_config().replace("<RectangleLabels ", '<RectangleLabels model_obb="true" ')
    for config, version in ((label_config(), "v1"), (rotated, "base-tree-base"), (label_config(), "v1")):
        body = setup_body(config) | {"project": "9.9"}
        assert ask(backend, "POST", "/setup", body)[1] == {"model_version": f"label:{version}"}
    (said,) = [record.message for record in caplog.records if "obb" in record.message]
    assert said.startswith("v1 of 'label' is for detect, the labeling config asks for obb now")
    publish(file_store, tmp_path / "weights.pt", uid="9.9", yolo_task="obb")
    body = setup_body(rotated) | {"project": "9.9"}
    assert ask(backend, "POST", "/setup", body)[1] == {"model_version": "label:v2"}


def test_what_is_not_understood_is_said_once_a_config(
    file_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    config = label_config().replace(
        "<RectangleLabels ", '<RectangleLabels model_path="../../secret.pt" model_taste="salty" '
    )
    backend = Backend(settings(), file_store)
    for _ in range(2):
        ask(backend, "POST", "/setup", setup_body(config))
    said = [record.message for record in caplog.records if getattr(record, "event", "") == "config_not_understood"]
    assert len(said) == 2
    assert "model_taste" in said[0]
    assert "model_path='../../secret.pt' of 'label' is ignored" in said[1]


def test_setup_keeps_config_and_overrides_and_never_the_token(file_store: ObjectStore, tmp_path: Path) -> None:
    backend = Backend(settings(), file_store)
    ask(backend, "POST", "/setup", setup_body(extra_params='{"confidence": 0.5, "epochs": "7", "threads": 3}'))
    expected = Project(label_config=label_config(), overrides={"confidence": 0.5, "epochs": 7})
    assert read_project(file_store, UID) == expected
    assert backend.settings_for(UID, ()).confidence == 0.5
    stored = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*.json"))
    assert b"evil.example" not in stored
    assert SECRET.encode() not in stored


def test_setup_without_extra_params_keeps_title_and_overrides(file_store: ObjectStore) -> None:
    write_project(file_store, UID, label_config="<View/>", title="Trees", overrides={"epochs": 3})
    ask(Backend(settings(), file_store), "POST", "/setup", setup_body())
    project = Project(label_config=label_config(), title="Trees", overrides={"epochs": 3})
    assert read_project(file_store, UID) == project


def test_setup_writes_only_what_changed(file_store: ObjectStore, tmp_path: Path) -> None:
    backend = Backend(settings(), file_store)
    written = []
    for config in (None, None, label_config("other")):
        ask(backend, "POST", "/setup", setup_body(config))
        (path,) = (tmp_path / "store").rglob("project.json")
        written.append(path.stat().st_mtime_ns)
    assert written[0] == written[1] != written[2]


def test_setup_tells_what_will_be_asked_for_next(file_store: ObjectStore) -> None:
    told: list[tuple[str, list[str]]] = []

    def on_setup(uid: str, controls: tuple[Control, ...]) -> None:
        told.append((uid, [control.name for control in controls]))

    ask(Backend(settings(), file_store, on_setup=on_setup), "POST", "/setup", setup_body())  # type: ignore[arg-type]
    assert told == [(UID, ["label"])]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (setup_body(config="<View>"), 400),
        ({"project": UID}, 400),
        ([], 400),
        (setup_body(config="<View/>"), 200),
        (setup_body(extra_params="no json"), 200),
        (setup_body(extra_params=[1]), 200),
        (setup_body(extra_params="[" * 100_000), 200),
        (setup_body() | {"project": "../7"}, 400),
        (setup_body() | {"project": "7" * 5000}, 400),
    ],
)
def test_setup_of_strange_bodies(file_store: ObjectStore, body: object, status: int) -> None:
    assert ask(Backend(settings(), file_store), "POST", "/setup", body)[0] == status


def test_dummy_version(file_store: ObjectStore) -> None:
    backend = Backend(settings(LABELLOOP_DUMMY="true"), file_store)
    assert ask(backend, "POST", "/setup", setup_body())[1] == {"model_version": "label:dummy"}


def test_versions_of_a_project_newest_first(file_store: ObjectStore, tmp_path: Path) -> None:
    backend = Backend(settings(), file_store)
    assert ask(backend, "GET", "/versions") == (200, {"versions": []})
    (tmp_path / "weights.pt").write_text("weights")
    for _ in range(2):
        publish(file_store, tmp_path / "weights.pt")
    assert ask(backend, "GET", "/versions")[1] == {"versions": ["label:v2", "label:v1"]}
    publish(file_store, tmp_path / "weights.pt", uid="2.2")
    assert ask(backend, "GET", "/versions")[1] == {"versions": []}  # whose?
    assert ask(backend, "GET", "/versions?project=2.2")[1] == {"versions": ["label:v1"]}


def test_what_label_studio_rarely_asks(file_store: ObjectStore) -> None:
    backend = Backend(settings(), file_store)
    assert ask(backend, "POST", "/validate", {"config": label_config()})[0] == 200
    assert ask(backend, "POST", "/validate", {"config": "<View>"})[0] == 400
    assert ask(backend, "POST", "/duplicate_model", {"project_src": "1.1", "project_dst": "2.2"}) == (200, {})
    assert ask(backend, "POST", "/delete", {"project": "1.1"}) == (200, {})


def test_stamps() -> None:
    assert stamp([("label", "v12"), ("poly", "v3")]) == "label:v12+poly:v3"
    assert stamp([]) == "none"
    assert base_version("yolo11n.pt") == base_version("/models/yolo11n.pt") == "base-yolo11n"


def test_a_store_whose_disk_is_gone_leaves_the_last_known_version(file_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_text("weights")
    publish(file_store, tmp_path / "weights.pt")
    pointers = ServedVersions(file_store, 0)
    assert pointers.serving(UID, CONTROL) is not None
    shadow = tmp_path / "gone"
    (tmp_path / "store").rename(shadow)
    (tmp_path / "store").write_text("no folder any more")
    served = pointers.serving(UID, CONTROL)
    assert served is not None
    assert served.version == 1


def test_setup_answers_while_the_project_cannot_be_stored(file_store: ObjectStore, tmp_path: Path) -> None:
    backend = Backend(settings(LABELLOOP_POINTER_MAX_AGE=60), file_store)
    controls = parse_label_config(label_config())
    assert backend.model_version(UID, controls) == "label:base-tree-base"
    (tmp_path / "store").write_text("no folder can be made here")
    assert ask(backend, "POST", "/setup", setup_body()) == (200, {"model_version": "label:base-tree-base"})


@pytest.mark.parametrize(
    ("given", "overrides"),
    [
        (None, None),
        ("", None),
        ({}, {}),
        ("{}", {}),
        ({"epochs": 5, "confidence": 0.1}, {"epochs": 5, "confidence": 0.1}),
        ({"epochs": -1, "batch": "many", "patience": 3}, {"patience": 3}),
        ({"store": "file:///elsewhere", "LABEL_STUDIO_URL": "http://evil"}, {}),
        ("[1]", None),
        ("{broken", None),
        ('{"cool_down": Infinity, "longest_run": 1e300, "image_size": 1000000, "patience": 3}', {"patience": 3}),
        (3, None),
    ],
)
def test_overrides(given: object, overrides: object) -> None:
    assert parse_overrides(given) == overrides


@pytest.mark.parametrize(
    ("operator", "asked", "got"),
    [
        pytest.param({"longest_run": 3600.0}, {"longest_run": 30 * 86400.0}, 3600.0, id="thirty days"),
        pytest.param({"longest_run": 3600.0}, {"longest_run": 600.0}, 600.0, id="less"),
        pytest.param({"epochs": 50}, {"epochs": 100_000}, 50, id="epochs"),
        pytest.param({"epochs": 50}, {"epochs": 7}, 7, id="fewer epochs"),
        pytest.param({"epochs": 50}, {"epochs": 0}, 50, id="epochs that are chosen"),
        pytest.param({"epochs": 0}, {"epochs": 200}, 200, id="an operator who lets them be chosen"),
        pytest.param({"patience": 30}, {"patience": 0}, 30, id="patience without end"),
        pytest.param({"patience": 0}, {"patience": 500}, 500, id="an operator without a limit"),
        pytest.param({"patience": 30}, {"patience": 3}, 3, id="less patience"),
        pytest.param({"image_size": 640}, {"image_size": 8192}, 640, id="pictures of 800 MB each"),
        pytest.param({"image_size": 640}, {"image_size": 320}, 320, id="smaller pictures"),
        pytest.param({"batch": 8}, {"batch": 65_536}, 8, id="batch"),
        pytest.param({"batch": 8}, {"batch": 0}, 8, id="a batch as large as fits"),
        pytest.param({"batch": 0}, {"batch": 4}, 4, id="less than fits"),
        pytest.param({"max_objects": 300}, {"max_objects": 30_000}, 300, id="things in an image"),
        pytest.param({"cool_down": 300.0}, {"cool_down": 0.0}, 300.0, id="no pause"),
        pytest.param({"cool_down": 300.0}, {"cool_down": 900.0}, 900.0, id="a longer pause"),
        pytest.param({"min_annotations": 5}, {"min_annotations": 2}, 2, id="a threshold is the project's"),
        pytest.param({"changed_share": 0.1}, {"changed_share": 0.0}, 0.0, id="the other one too"),
        pytest.param({"confidence": 0.5}, {"confidence": 0.1}, 0.1, id="what is shown costs nothing"),
    ],
)
def test_a_project_may_lower_the_operator_s_limits_and_never_raise_them(
    operator: dict[str, Any], asked: dict[str, Any], got: float, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = asked
    project = Project(label_config="<View/>", overrides=asked)
    given = evolve(settings(), **operator)
    assert getattr(with_overrides(given, project), name) == got
    expected: dict[str, Any] = {name: got}
    assert with_overrides(given, project) == evolve(given, **expected), "nothing else changed"
    limited = got != asked[name]
    assert sum(variable(name) in line for line in caplog.messages) == limited, "said once"


def test_writers_of_a_project_lose_no_update(file_store: ObjectStore) -> None:
    def write(change: Callable[[int], dict[str, object]]) -> None:
        for number in range(5):
            write_project(file_store, UID, **change(number))  # type: ignore[arg-type]

    threads = [
        threading.Thread(target=write, args=(lambda number: {"label_config": "<View/>", "title": f"t{number}"},)),
        threading.Thread(
            target=write, args=(lambda number: {"label_config": "<View/>", "overrides": {"epochs": number}},)
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    expected = Project(label_config="<View/>", title="t4", overrides={"epochs": 4})
    assert read_project(file_store, UID) == expected
