"""`labelloop policy`: what is in force, where it comes from, and when the next training starts."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from infra.cli.environment import Invocation
from infra.cli.main import app
from shared.objectstore.file import FileStore
from shared.state.projects import write_project
from tests.samples.shown_projects import TREES, TREES_CONFIG, fill, manifest, publish

HOSTILE = "Trees \x1b[31m[bold]of Yellowstone"


def policy(folder: Path, *more: str, **environ: str) -> str:
    invocation = Invocation({"LABELLOOP_STORE": (folder / "store").as_uri(), "COLUMNS": "80"} | environ, folder)
    result = CliRunner().invoke(app, ["policy", *more], obj=invocation, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def test_of_a_project(tmp_path: Path) -> None:
    store = FileStore((tmp_path / "store").as_uri())
    fill(store)
    (tmp_path / "labelloop.env").write_text("LABELLOOP_COOL_DOWN=60\n")
    write_project(store, "9.1792000000", label_config="<View/>", title=HOSTILE, overrides={"min_annotations": 50})
    text = policy(tmp_path, "--project", "9", LABELLOOP_EPOCHS="40")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "Project 9.1792000000 Trees [31m[bold]of Yellowstone"
    assert "Next training: at 50 annotated tasks" in lines
    assert "LABELLOOP_MIN_ANNOTATIONS 50 tasks project" in lines
    assert "LABELLOOP_COOL_DOWN 60 s labelloop.env" in lines
    assert "LABELLOOP_EPOCHS 40 epochs environment" in lines
    assert "LABELLOOP_BUDGET_DAY no limit default" in lines
    assert all(len(line) <= 80 for line in text.splitlines())
    long = "a label that is longer than a line of a terminal that has eighty columns and goes on"
    write_project(store, TREES, label_config=TREES_CONFIG.replace("Dead tree", long))
    publish(store, TREES, "label", manifest(11, store.now(), labels=("Tree", long)))
    text = policy(tmp_path, "--project", "7")
    assert all(word in text for word in (*long.split(), "confidence", "overlap")), text
    assert "…" not in text


def test_for_scripts(tmp_path: Path) -> None:
    store = FileStore((tmp_path / "store").as_uri())
    fill(store)
    body: Any = json.loads(policy(tmp_path, "--project", TREES, "--json"))
    (cool_down,) = (rule for rule in body["rules"] if rule["name"] == "cool_down")
    assert cool_down == {
        "name": "cool_down", "variable": "LABELLOOP_COOL_DOWN", "value": 300.0, "from": "default", "limited": None,
    }  # fmt: skip
    assert body["next_training"] is None, "one runs"
    assert [one["label"] for one in body["thresholds"]] == ["Tree", "Dead tree", "Shrub"]


def test_before_there_is_a_project(tmp_path: Path) -> None:
    assert "LABELLOOP_MIN_ANNOTATIONS" in policy(tmp_path)
    assert json.loads(policy(tmp_path, "--json"))["project"] is None
