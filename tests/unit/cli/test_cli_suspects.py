"""`labelloop suspects` on a real store: what is listed, how it is dismissed, and the tab in Label Studio."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.cli.environment import Invocation
from infra.cli.main import app
from shared.objectstore import ObjectStore
from shared.state import keys
from tests.samples.shown_projects import manifest, publish
from tests.samples.suspects_made import suspect, with_suspects

UID = "7.1790000000"
Labelloop = Callable[..., Result]


@pytest.fixture
def labelloop(tmp_path: Path, file_store: ObjectStore) -> Labelloop:
    """Runs `labelloop suspects` on the store."""
    given = {"LABELLOOP_STORE": file_store.url, "LABEL_STUDIO_URL": "https://ls.example/prefix/"}
    invocation = Invocation(given, tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["suspects", *arguments], obj=invocation, env={"COLUMNS": "200"})


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def put(store: ObjectStore, *suspects: Any, control: str = "label") -> None:
    made = with_suspects(store, UID, manifest(1, store.now(), control=control), *suspects)
    publish(store, UID, control, made)


def test_both_boxes_the_reason_and_the_link_are_shown(labelloop: Labelloop, file_store: ObjectStore) -> None:
    loose = suspect(
        12, "loose", label="Tree", box=(12.0, 30.0, 9.0, 8.0), reason="in another place: they overlap by 41%"
    )
    put(file_store, loose, suspect(3))
    shown = labelloop().output
    for part in (
        "label: 2 annotations are worth a look; v1 judged the 20 of 100 annotated tasks",
        f"{loose.id}  task 12  loose  in another place: they overlap by 41%",
        "annotated Tree at 12 %, 30 %, 9 × 8 %; found Tree 0.31 at 10 %, 20 %, 5 × 6 %",
        "https://ls.example/prefix/projects/7/data?task=12",
        "Each may be right",
    ):
        assert part in shown, shown
    (control,) = said(labelloop("--json"))["controls"]
    assert [one["url"][-4:] for one in control["suspects"]] == ["k=12", "sk=3"]
    assert (control["version"], control["judge"], control["judged"], control["tasks"]) == (1, "v1", 20, 100)


def test_dismissed_ones_are_listed_no_more(labelloop: Labelloop, file_store: ObjectStore) -> None:
    first, second = suspect(1), suspect(2)
    put(file_store, first, second)
    assert "1 dismissed, until their annotations change" in labelloop("--dismiss", first.id).output
    assert "0 dismissed" in labelloop("--dismiss", first.id).output
    (control,) = said(labelloop("--json"))["controls"]
    assert ([one["id"] for one in control["suspects"]], control["dismissed"]) == ([second.id], 1)
    assert "1 annotation is worth a look, 1 dismissed" in labelloop().output
    missing = labelloop("--dismiss", "nonsense")
    assert missing.exit_code == 1
    assert "nonsense" in str(missing.exception)
    labelloop("--dismiss", second.id)
    assert "nothing to look at, 2 dismissed" in labelloop().output


def test_the_first_twenty_and_all(labelloop: Labelloop, file_store: ObjectStore) -> None:
    put(file_store, *(suspect(number) for number in range(1, 31)))
    assert "… and 10 more: --all" in labelloop().output
    assert "task 30 " not in labelloop().output
    assert "task 30 " in labelloop("--all").output
    assert len(said(labelloop("--json"))["controls"][0]["suspects"]) == 30


def test_one_control_without_a_list_hides_no_other(labelloop: Labelloop, file_store: ObjectStore) -> None:
    put(file_store, suspect(1))
    publish(file_store, UID, "video", manifest(1, file_store.now(), control="video"))
    put(file_store, suspect(2), control="broken")
    for key in list(file_store.list(f"{keys.files(UID, 'broken')}/")):
        file_store.put(key, b"{}")
    shown = labelloop().output
    assert "label: 1 annotation is worth a look" in shown
    assert "video: no version has a list" in shown
    assert "broken: " in shown
    assert "is damaged" in shown
    assert "there are versions of 'broken', 'label', 'video'" in str(labelloop("--control", "nobody").exception)


def test_names_from_outside_steer_no_terminal(labelloop: Labelloop, file_store: ObjectStore) -> None:
    hostile = "[red]Tree[/]\x1b[2J\u202e"
    put(file_store, suspect(1, "swapped", label=hostile, found=hostile, reason=f"{hostile} is annotated"))
    shown = labelloop().output
    assert "[red]Tree[/]" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
