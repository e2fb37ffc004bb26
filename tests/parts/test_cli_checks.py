"""What connect and doctor say about servers that are not what they should be, and about labeling configs."""

import json
from pathlib import Path
from typing import Any

import pytest

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import (
    Project,
    check_config,
    check_functions,
    check_label_studio,
    check_launcher,
    check_project,
    check_training_toggle,
)
from infra.cli.connect import connect_at_start
from infra.cli.model_checks import check_models
from infra.cli.real_prediction import check_prediction
from infra.local.base_weights import refuse_missing_files
from shared.errors import SettingsError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.base_weights import add_base_weights
from shared.state.registry import Registry
from shared.state.versions import GRAPH, WEIGHTS
from shared.web.forwarding import EMPTY_HEADER, empty_header
from tests.fakes.label_studio_project import OneProject
from tests.fakes.predict_parts import UID, label_config, publish
from tests.samples.versions import manifest
from tests.servers.web_server import Handler, web_server


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"id": "one"}', b'"hello"'])
def test_a_server_that_is_no_label_studio(body: bytes) -> None:
    with web_server(lambda handler: handler.reply(200, body, Content_Type="application/json")) as server:
        finding, project = check_project(LabelStudio(server.url, "0" * 40), "1")

    assert project is None
    assert finding.level == "problem"
    assert "LABEL_STUDIO_URL" in finding.remedy


@pytest.mark.parametrize(("status", "body"), [(200, b"{}"), (200, b"<p>hello</p>"), (404, b""), (401, b"{}")])
def test_what_is_no_label_studio_is_never_sent_the_token(status: int, body: bytes, file_store: ObjectStore) -> None:
    with web_server(lambda handler: handler.reply(status, body)) as server:
        finding = check_label_studio(LabelStudio(server.url, "0" * 40))
        (connected,) = connect_at_start(
            LabelStudio(server.url, "0" * 40), Settings(), "1", store=file_store, tell=lambda _: None
        )
    assert (finding.level, finding.check, connected) == ("problem", "label_studio", finding)
    assert "is no Label Studio" in finding.message
    assert "LABEL_STUDIO_URL" in finding.remedy
    assert {(seen.path, seen.authorization) for seen in server.seen} == {("/api/version/", None)}


BOX = {"type": "rectanglelabels", "from_name": "label", "value": {}}


@pytest.mark.parametrize(
    ("item", "why", "level", "said"),
    [
        ({"result": [BOX, BOX], "model_version": "label:v2"}, "", "ok", "came from label:v2: 2 boxes ("),
        ({"result": [], "model_version": "label:v2"}, "", "ok", "came from label:v2: it found nothing there ("),
        (
            [],
            empty_header("no_model", "the weights “a” are not there"),
            "problem",
            "failed: the weights “a” are not there",
        ),
        ([], "", "problem", "failed: it does not say why; its log does"),
    ],
)
def test_a_real_prediction_says_what_came(item: Any, why: str, level: str, said: str) -> None:
    headers = {EMPTY_HEADER.replace("-", "_"): why} if why else {}
    with web_server(lambda handler: handler.reply(200, json.dumps({"results": [item]}).encode(), **headers)) as server:
        settings = Settings.model_validate({"PREDICT_URL": server.url})
        (finding,) = check_prediction(OneTask(), settings, project(label_config()))
    (seen,) = server.seen
    assert (seen.path, json.loads(seen.body)["tasks"]) == (
        "/predict",
        [{"id": 4, "data": {"a": 1}, "is_labeled": True}],
    )
    assert (finding.level, finding.check) == (level, "prediction")
    assert f"a real prediction, of task 4, {said}" in finding.message


def test_without_a_predict_no_real_prediction_is_asked_for() -> None:
    closed = Settings.model_validate({"PREDICT_URL": "http://127.0.0.1:9"})
    assert check_prediction(OneTask(), closed, project(label_config())) == []
    assert check_prediction(OneTask(), Settings(), project(label_config())) == []


class OneTask(OneProject):
    def get_json(self, path: str, params: Any = None) -> Any:
        return {"tasks": [{"id": 4, "data": {"a": 1}}]}


def test_the_toggle_that_trains_at_every_annotation_is_named() -> None:
    on = project(label_config())
    on.answer["start_training_on_annotation_update"] = True
    assert [finding.level for finding in check_training_toggle(on)] == ["warning"]
    assert check_training_toggle(project(label_config())) == []


def test_base_weights_that_nobody_can_have_stop_the_start(file_store: ObjectStore, tmp_path: Path) -> None:
    there = tmp_path / "mine.pt"
    there.touch()
    add_base_weights(file_store, "kept.pt", "detect", ("tree",), {WEIGHTS: there, GRAPH: there})
    for weights in ("yolo11n.pt", str(there), "/gone/kept.pt"):
        refuse_missing_files(file_store, Settings.model_validate({"LABELLOOP_BASE_WEIGHTS": weights}))
    for weights in ("/gone/other.pt", "yolo11x-mine.pt"):
        both = Settings.model_validate({"LABELLOOP_BASE_WEIGHTS": f"yolo11n.pt,{weights}"})
        with pytest.raises(SettingsError, match=f"names '{weights}': there is no such file"):
            refuse_missing_files(file_store, both)


def test_a_predict_that_sleeps_is_waited_for_and_train_trigger_recommended() -> None:
    left = [503, 429]

    def front(handler: Handler) -> None:
        handler.reply(left.pop() if left else 200, b"{}")

    with web_server(front) as server:
        urls = {"PREDICT_URL": server.url, "TRAIN_TRIGGER_URL": server.url}
        predict, train_trigger = check_functions(Settings.model_validate(urls))
    assert (predict.level, predict.check) == ("warning", "predict")
    assert train_trigger.level == "ok"
    assert f"--backend-url {server.url}" in predict.remedy
    assert [seen.path for seen in server.seen][:4] == ["/health", "/health", "/health", "/versions"]


def test_functions_that_refuse_the_webhooks_events_are_told() -> None:
    """Such as those with a password and no secret: events carry the secret alone, or nothing."""

    def function(handler: Handler) -> None:
        known = handler.path == "/health" or "Authorization" in handler.headers
        handler.reply(200 if known else 401, b"{}")

    with web_server(function) as server:
        urls = {"PREDICT_URL": server.url, "TRAIN_TRIGGER_URL": server.url, "LABELLOOP_BASIC_AUTH_PASSWORD": "password"}
        inbound = check_functions(Settings.model_validate(urls))
        outbound = check_functions(Settings.model_validate(urls), inbound=False)
    assert [finding.level for finding in inbound] == ["problem", "problem"]
    assert all("set LABELLOOP_WEBHOOK_SECRET" in finding.remedy for finding in inbound)
    assert [finding.level for finding in outbound] == ["ok"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, [("ok", "jobs run as processes of this machine")]),
        ({"LABELLOOP_WORK_DIR": f"{__file__}/work"}, [("problem", "set LABELLOOP_WORK_DIR")]),
        ({"TRAIN_TRIGGER_URL": "https://trigger.example.org"}, []),  # its machine is not this one
        ({"LABELLOOP_LAUNCHER": "ray://127.0.0.1:9"}, [("problem", "no Ray dashboard answers at 127.0.0.1:9")]),
        ({"LABELLOOP_LAUNCHER": "ray://127.0.0.1:9?gpus=x"}, [("problem", "gpus=x is no number")]),
    ],
)
def test_the_launcher_is_asked(variables: dict[str, str], expected: list[tuple[str, str]]) -> None:
    findings = check_launcher(Settings.from_environ(variables), variables)
    assert [finding.level for finding in findings] == [level for level, _ in expected]
    assert all(words in finding.message for finding, (_, words) in zip(findings, expected, strict=True))


def project(config: str) -> Project:
    return Project(1, UID, "trees", parse_label_config(config), {"label_config": config})


def test_what_is_not_understood_of_a_config_is_a_warning_each() -> None:
    assert check_config(project(label_config())) == []
    config = (
        label_config()
        .replace("<Rect", '<TextArea name="why" toName="image"/><Rect', 1)
        .replace('name="label"', 'name="label" model_obb="perhaps"')
    )
    assert [(finding.level, finding.check) for finding in check_config(project(config))] == [("warning", "config")] * 2


@pytest.fixture
def weights(file_store: ObjectStore, tmp_path: Path) -> Path:
    """A detect model of two classes, which the store has as well."""
    path = tmp_path / "base.pt"
    path.write_text("weights")
    add_base_weights(file_store, path.name, "detect", ("tree", "rock"), {WEIGHTS: path, GRAPH: path})
    return path


class TestModels:
    def check(self, config: str, store: ObjectStore, base_weights: object, **more: int) -> list[Finding]:
        settings = Settings.model_validate({"LABELLOOP_BASE_WEIGHTS": str(base_weights)} | more)
        return check_models(settings, store, project(config))

    def test_base_weights(self, file_store: ObjectStore, weights: Path) -> None:
        found = {labels: self.check(label_config(labels=labels), file_store, weights) for labels in (("Tree",), ("a",))}
        assert [(one.level, one.message.split(" has ")[1]) for (one,) in found.values()] == [
            ("ok", "a class for every label of 'label'"),
            ("warning", "no class for any label of 'label': it proposes regions without regard to class"),
        ]
        (finding,) = self.check(label_config(labels=("Tree", "a")), file_store, weights)
        assert "no class for 'a' of 'label': never predicted" in finding.message

    def test_classes_that_several_labels_claim(self, file_store: ObjectStore, weights: Path) -> None:
        config = label_config(labels=("Tree", "TREE", "Rock"))
        unclear, missing = self.check(config, file_store, weights)
        assert (unclear.level, unclear.check) == ("warning", "labels")
        assert "has a class 'tree' that could be 'Tree' or 'TREE' of 'label': it means none" in unclear.message
        assert "no class for 'Tree', 'TREE' of 'label': never predicted" in missing.message

    def test_base_weights_of_another_task(self, file_store: ObjectStore, weights: Path) -> None:
        config = label_config().replace("RectangleLabels", "PolygonLabels")
        (finding,) = self.check(config, file_store, weights)
        assert finding.level == "warning"
        assert finding.message == "base.pt is a detect model, 'label' needs segment: nothing is predicted by it"
        assert "LABELLOOP_BASE_WEIGHTS" in finding.remedy

    def test_base_weights_that_nobody_made_yet(self, file_store: ObjectStore) -> None:
        (finding,) = self.check(label_config(), file_store, "/models/mine.pt")
        assert finding.level == "warning"
        assert "base weights mine.pt of 'label' are not in the store: nothing is predicted" in finding.message
        assert "labelloop base add /models/mine.pt" in finding.remedy

    def test_a_file_that_is_not_the_one_in_the_store(self, file_store: ObjectStore, weights: Path) -> None:
        weights.write_text("trained further")
        other, compared = self.check(label_config(labels=("Tree",)), file_store, weights)
        assert (other.level, compared.level) == ("warning", "ok")
        assert "is another file than the base weights 'base.pt' in the store" in other.message

    def test_weights_that_a_config_asks_for_in_vain(self, file_store: ObjectStore, weights: Path) -> None:
        config = label_config(labels=("Tree",)).replace('name="label"', 'name="label" model_path="/etc/passwd"')
        ignored, compared = self.check(config, file_store, weights)
        assert (ignored.level, ignored.check, compared.level) == ("warning", "config", "ok")
        assert "model_path='/etc/passwd' of 'label' is ignored" in ignored.message

    def test_more_controls_than_models_in_memory(self, file_store: ObjectStore) -> None:
        config = label_config("a", "b")
        assert len(self.check(config, file_store, "no.pt", LABELLOOP_LOADED_MODELS=2)) == 2
        finding, *_ = self.check(config, file_store, "no.pt", LABELLOOP_LOADED_MODELS=1)
        assert (finding.level, finding.check) == ("warning", "models")
        assert "2 controls, LABELLOOP_LOADED_MODELS keeps 1" in finding.message

    def test_a_version(self, file_store: ObjectStore, weights: Path) -> None:
        publish(file_store, weights, labels=("Tree",))
        (finding,) = self.check(label_config(), file_store, "nothing.pt")
        assert finding.message == "v1 has no class for 'Person' of 'label': never predicted"
        lost, finding = self.check(label_config(labels=("tree",)), file_store, "nothing.pt")
        assert lost.message == "v1 was trained on 'Tree', which is not in the labeling config of 'label'"
        assert lost.remedy.startswith("rename it back, or write alias='Tree' to the <Label>")
        assert finding.message == "v1 has no class for any label of 'label': nothing is predicted"
        Registry(file_store, UID).publish("label", manifest)  # by an older labelloop
        Registry(file_store, UID).promote("label", 2, fence=10**6, run_id="run", expected=1)
        *_, finding = self.check(label_config(), file_store, "nothing.pt")
        assert (finding.level, finding.message) == (
            "warning",
            "v2 of 'label' is of an older labelloop and has no graph",
        )
