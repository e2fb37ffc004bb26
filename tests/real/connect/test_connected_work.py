"""What annotators of a connected project see, and what labelloop reads of their work."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from infra.cli.connect import connect
from infra.cli.disconnect import disconnect
from infra.cli.doctor import examine
from infra.cli.environment import Invocation
from infra.cli.main import app
from infra.cli.suspects_tab import TITLE, show_in_tab
from infra.local.label_studio import LabelStudioServer
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.prediction.region_ids import SMART
from shared.settings import Settings
from shared.state.effort import read_effort
from shared.state.projects import read_project, write_project
from tests.servers.connected_projects import CONFIG, annotate, box, changes, of, upload_image

LABELS = '<Label value="Tree"/>'
TAGS = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels")
EVERYTHING = (
    '<View><Image name="image" value="$image"/>'
    + "".join(f'<{tag} name="{tag}" toName="image" model_skip="{tag[0] == "R"}">{LABELS}</{tag}>' for tag in TAGS)
    + '<KeyPointLabels name="points" toName="image"><Label value="top"/><Label value="foot"/></KeyPointLabels>'
    '<Choices name="season" toName="image"><Choice value="summer"/><Choice value="winter"/></Choices>'
    '<Choices name="state" toName="image" perRegion="true"><Choice value="alive"/></Choices>'
    "</View>"
)


def test_a_connected_project_shows_predictions_to_annotators(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, server: LabelStudioServer
) -> None:
    upload_image(server, project)
    toggled = {"start_training_on_annotation_update": True}
    client.request_json("PATCH", f"/api/projects/{project}/", toggled)

    findings = connect(client, settings, project, store=store)

    assert of(findings, "training") == ["warning"], "each annotation would ask for a training"
    assert [found.message.split(": ")[1][:5] for found in findings if found.check == "prediction"] == ["1 box"]
    client.request_json("PATCH", f"/api/projects/{project}/", {"start_training_on_annotation_update": False})
    task = client.get_json(f"/api/projects/{project}/next")

    assert [prediction["model_version"] for prediction in task["predictions"]] == ["label:dummy"]


def test_label_studio_takes_predictions_of_every_control_of_an_image(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, server: LabelStudioServer
) -> None:
    client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": EVERYTHING})
    upload_image(server, project)
    connect(client, settings, project, store=store)

    ((prediction,),) = (task["predictions"] for task in [client.get_json(f"/api/projects/{project}/next")])

    kinds = [(item["from_name"], item["type"]) for item in prediction["result"]]
    assert kinds == [
        *((tag, tag.lower()) for tag in TAGS[1:]),
        ("RectangleLabels", "rectanglelabels"),  # around the points
        *[("points", "keypointlabels")] * 2,
        ("season", "choices"),
        ("state", "choices"),
    ]


def test_a_tool_for_clicks_is_added_and_taken_out_again(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    def config() -> str:
        return str(client.get_json(f"/api/projects/{project}/")["label_config"])

    assert of(connect(client, settings, project, store=store, agrees=lambda _: True), "smart") == ["changed"]
    assert 'name="label_click"' in config()
    assert "label_click" in str(read_project(store, client.project(project).counters.uid or ""))
    again = connect(client, settings, project, store=store, agrees=lambda _: True)
    assert (of(again, "smart"), changes(again)) == (["ok"], [])
    assert [
        (one.level, one.remedy) for one in examine(client, settings, store, str(project)) if one.check == "smart"
    ] == [("ok", "")]
    assert of(disconnect(client, project, store=store, tell=lambda _: None), "smart") == ["changed"]
    assert config() == CONFIG


def test_effort_counts_what_annotators_did_to_predictions(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    uid = str(ProjectCounters.model_validate(client.get_json(f"/api/projects/{project}/")).uid)
    write_project(store, uid, label_config=CONFIG)
    for place in range(3):
        data = {"project": project, "data": {"image": f"/{place}.jpg"}}
        task = client.request_json("POST", "/api/tasks/", data)["id"]
        if place == 2:  # by hand, and with a smart tool
            annotate(client, task, [box("c", 70), box(f"{SMART}d", 30, "manual")], lead_time=20.0)
            continue
        shown = {"task": task, "result": [box("a", 10), box("b", 40)], "model_version": "label:v1", "score": 0.5}
        prediction = client.request_json("POST", "/api/predictions/", shown)["id"]
        kept, moved, new = box("a", 10, "prediction"), box("b", 44, "prediction-changed"), box("c", 70, "manual")
        annotate(client, task, [kept, moved, new], lead_time=10.0, parent_prediction=prediction)
    picture = tmp_path / "effort.png"
    command = ["effort", "--project", uid, "--json", "--picture", str(picture)]

    answer = CliRunner().invoke(app, command, obj=Invocation(settings.to_environ(), tmp_path))

    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    by_hand, first = found["versions"]
    assert [by_hand[kind] for kind in ("version", "added", "smart", "images")] == [None, 1, 1, 1]
    assert (first["version"], first["control"], first["images"]) == ("v1", "label", 2)
    assert [first[kind] for kind in ("shown", "kept", "moved", "deleted", "added", "final")] == [4, 2, 2, 0, 2, 6]
    assert first["moved_median_iou"] == pytest.approx(2 / 3, abs=0.01)
    assert first["saved"] == pytest.approx(1 - (0.5 * 2 + 2) / 6)
    assert found["tasks"] == 3
    stored = read_effort(store, uid)
    assert stored is not None
    assert stored.saved == found["saved_of_everything"]
    assert {one.version: one.saved for one in stored.versions} == {"": by_hand["saved"], "v1": first["saved"]}
    with Image.open(picture) as drawn:
        assert drawn.width > 500


def test_a_tab_shows_the_tasks_with_suspects(client: LabelStudio, server: LabelStudioServer, project: int) -> None:
    urls = [{"image": f"https://images.example/{number}.jpg"} for number in range(5)]
    assert server.session().post(f"{server.url}/api/projects/{project}/import", json=urls, timeout=30).ok
    listed = client.get_json("/api/tasks", {"project": str(project)})["tasks"]
    first, second, third, *_ = sorted(int(task["id"]) for task in listed)

    def shown(view: int | None) -> set[int]:
        return {int(task["id"]) for task in client.get_json("/api/tasks", {"view": str(view)})["tasks"]}

    view = show_in_tab(client, project, [third, first, third])
    assert shown(view) == {first, third}
    assert [one["data"]["title"] for one in client.get_json("/api/dm/views/", {"project": str(project)})] == [
        "Default",
        TITLE,
    ]
    assert show_in_tab(client, project, [second]) == view
    assert shown(view) == {second}
    assert show_in_tab(client, project, []) is None
    assert len(client.get_json("/api/dm/views/", {"project": str(project)})) == 1
    assert show_in_tab(client, project, []) is None
