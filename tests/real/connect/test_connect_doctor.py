"""What doctor finds in a project of a real Label Studio."""

from pathlib import Path

import pytest
from label_studio_sdk.label_interface import LabelInterface

from functions.train_trigger.status.counting import Counted, counting
from infra.cli.connect import connect
from infra.cli.doctor import examine
from infra.cli.findings import problems
from infra.local.label_studio import LabelStudioServer
from shared.errors import LabelStudioError
from shared.evolve import evolve
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from shared.state.base_weights import add_base_weights
from shared.state.versions import GRAPH, WEIGHTS
from tests.servers.connected_projects import (
    CONFIG,
    annotate,
    backends,
    box,
    changes,
    of,
    only_problem,
    upload_image,
    webhooks,
)


def test_what_is_not_understood_of_the_labeling_config_is_named(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    config = CONFIG.replace("<Rect", '<TextArea name="why" toName="image"/><Rect', 1).replace(
        'name="label"', 'name="label" model_path="../weights.pt" model_obb="perhaps"'
    )
    client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": config})

    connected = connect(client, settings, project, store=store)
    examined = examine(client, settings, store, str(project))

    assert not problems(connected)
    assert of(connected, "config") == ["warning"] * 3
    named = [finding.message for finding in examined if finding.check == "config"]
    assert named == [finding.message for finding in connected if finding.check == "config"]
    assert ["why" in named[0], "model_obb" in named[1], "model_path" in named[2]] == [True] * 3


def test_what_somebody_changed_is_set_right(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    connect(client, settings, project, store=store)
    (webhook,) = webhooks(client, project)
    client.request_json("PATCH", f"/api/webhooks/{webhook['id']}/", {"is_active": False, "headers": {}})

    assert only_problem(examine(client, settings, store, str(project))).check == "webhook"
    assert len(changes(connect(client, settings, project, store=store))) == 1
    assert webhooks(client, project)[0]["is_active"]


def test_doctor_fetches_an_image_and_changes_nothing(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, server: LabelStudioServer
) -> None:
    upload_image(server, project)

    before = examine(client, settings, store, str(project))

    assert only_problem(before).message == f"project {project} has no backend 'labelloop'"
    assert of(before, "image") == ["ok"]
    assert any("64×48 pixels" in finding.message for finding in before)
    assert webhooks(client, project) == []
    assert backends(client, project) == []

    connect(client, settings, project, store=store)

    assert not problems(examine(client, settings, store, str(project)))


def test_another_store_than_the_functions_is_found(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    connect(client, settings, project, store=store)

    problem = only_problem(examine(client, settings, open_store((tmp_path / "other").as_uri()), str(project)))

    assert problem.check == "same_store"


def test_labels_without_a_class_are_named(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    weights = tmp_path / "base.pt"
    weights.write_text("weights")
    add_base_weights(store, weights.name, "detect", ("0", "1"), {WEIGHTS: weights, GRAPH: weights})
    settings = evolve(settings, base_weights=str(weights))

    (finding,) = (found for found in examine(client, settings, store, str(project)) if found.check == "labels")

    assert finding.level == "warning"
    assert "no class for any label of 'label'" in finding.message


def test_a_renamed_label_is_named_with_its_tasks_and_an_alias_keeps_what_was_annotated(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    for place in range(3):
        data = {"project": project, "data": {"image": f"/{place}.jpg"}}
        task = client.request_json("POST", "/api/tasks/", data)["id"]
        annotate(client, task, [box("a", 10), box("b", 40)], lead_time=1.0)
    renamed, back = CONFIG.replace('"Tree"', '"tree crown"'), CONFIG.replace('"Tree"', '"Bäume" alias="Tree"')

    def said_of(config: str) -> list[str]:
        client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": config})
        findings = examine(client, settings, store, str(project))
        return [one.message for one in findings if "annotated task" in one.message]

    assert said_of(CONFIG) == []
    assert said_of(renamed) == ["3 annotated tasks hold 'Tree', which is not in the labeling config of 'label'"]
    with pytest.raises(LabelStudioError, match="These labels still exist in annotations"):
        client.request_json("POST", f"/api/projects/{project}/validate/", {"label_config": renamed})
    assert said_of(back) == []
    client.request_json("POST", f"/api/projects/{project}/validate/", {"label_config": back})
    assert LabelInterface(back).validate_annotation({"result": [box("a", 10)]})
    assert client.tasks_with_label(project, "label", "Tree") == 3
    assert client.tasks_with_label(project, "label", "Baum") == client.tasks_with_label(project, "kind", "Tree") == 0
    uid = client.project(project).counters.uid
    assert uid is not None
    assert counting(client, patience=30)(uid, None) == Counted(annotated=3, changes=3)
