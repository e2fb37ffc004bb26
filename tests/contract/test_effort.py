"""What Label Studio 1.23.2 stored of annotations that were begun, edited and submitted in its own page.

Each task had predictions of two versions, `label:v1` and `label:v2`; v2 was the project's model_version.
"""

import io
import json
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from infra.cli.effort import Report, render_effort
from infra.effort.edits import edits_of
from infra.effort.project import ProjectEffort, version_of
from infra.effort.reading import Sitting, SittingReader
from jobs.train.data.export import LabelStudioExporter
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.state.effort import read_effort, write_effort
from tests.fakes.train_parts import PagedProject
from tests.servers.web_server import Handler, web_server

FOLDER = Path(__file__).parent / "effort"
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="Tree"/>'
    '<Label value="Bush"/></RectangleLabels><Choices name="kind" toName="image"><Choice value="forest"/>'
    '<Choice value="town"/></Choices></View>'
)
KEY = "0" * 40
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.fixture(scope="module")
def sittings() -> dict[str, Sitting]:
    """Recording → what is read of it, from a Label Studio that answers the recordings."""
    records = {number: json.loads((FOLDER / f"{name}.json").read_text()) for number, name in enumerate(NAMES, 1)}
    tasks = {n: {"id": n, "data": {}, "annotations": [record["annotation"]]} for n, record in records.items()}
    project = PagedProject(len(records), tasks=tasks)
    predictions = {one["id"]: one for record in records.values() for one in record["predictions"]}

    def respond(handler: Handler) -> None:
        place, _, query = handler.path.partition("?")
        number = place.removeprefix("/api/predictions/").strip("/")
        if not place.startswith("/api/predictions/"):
            project.respond(handler)
        elif number:
            handler.reply(200, json.dumps(predictions[int(number)]).encode(), Content_Type="application/json")
        else:
            found = records[int(query.removeprefix("task="))]["predictions"]
            handler.reply(200, json.dumps(found).encode(), Content_Type="application/json")

    with web_server(respond) as web, closing(LabelStudioExporter(web.url, KEY)) as exporter:
        read = list(SittingReader(exporter, LabelStudio(web.url, KEY)).sittings(1))
    return dict(zip(NAMES, (one for (one,) in read), strict=True))


@pytest.mark.parametrize(
    ("name", "begun", "version", "boxes", "choices"),
    [
        pytest.param(
            "edited", "with a prediction", "v2",
            {"kept": 2, "moved": 1, "relabelled": 1, "deleted": 1, "added": 1}, {"relabelled": 1}, id="edited",
        ),
        pytest.param("untouched", "with a prediction", "v2", {"kept": 5}, {"kept": 1}, id="untouched"),
        pytest.param("empty", "with a prediction", "v2", {}, {}, id="nothing predicted, nothing drawn"),
        pytest.param(
            "draft", "with a prediction", "v2",
            {"kept": 2, "moved": 1, "relabelled": 1, "deleted": 1, "added": 1}, {"kept": 1},
            id="continued from a draft: parent_prediction is gone, the ids are not",
        ),
        pytest.param("converted", "converted", "v1", {"kept": 5}, {"kept": 1}, id="by the menu: nobody looked at it"),
        pytest.param("by_hand", "without", "no version", {"added": 1}, {}, id="by hand"),
        pytest.param("prediction_deleted", "lost", "no version", None, None, id="its prediction was deleted since"),
    ],
)  # fmt: skip
def test_what_a_person_did(
    sittings: dict[str, Sitting],
    name: str,
    begun: str,
    version: str,
    boxes: dict[str, int] | None,
    choices: dict[str, int] | None,
) -> None:
    sitting = sittings[name]
    assert sitting.begun == begun
    assert version_of(sitting.version, "label") == version
    for control, expected in zip(parse_label_config(CONFIG), (boxes, choices), strict=True):
        if expected is not None:
            edits = edits_of(sitting.predicted, sitting.result, control)
            assert Counter(edit.kind for edit in edits) == expected, control.name


def test_the_page_was_open_for_so_long(sittings: dict[str, Sitting]) -> None:
    assert sittings["untouched"].seconds == pytest.approx(2.5, abs=0.1)
    assert sittings["draft"].seconds == pytest.approx(12.2, abs=0.1), "both sittings together"
    assert sittings["converted"].seconds is None, "nobody looked at it"


def test_all_of_them_together(sittings: dict[str, Sitting]) -> None:
    effort = ProjectEffort("1.1795332051", parse_label_config(CONFIG))
    for sitting in sittings.values():
        effort.add([sitting])
    assert [version for version, control in effort.versions() if control == "label"] == ["", "v2"]
    counts = effort.counts["v2", "label"]
    assert (counts.images, counts.unedited) == (4, 2)
    assert (counts.total.shown, counts.total.kept, counts.total.final) == (15, 9, 15)
    assert counts.total.acceptance == pytest.approx(9 / 15)
    assert counts.total.coverage == pytest.approx(13 / 15)
    assert counts.total.saved() == pytest.approx(1 - (0.5 * 2 + 0.3 * 2 + 0.2 * 2 + 1 * 2) / 15)
    assert counts.classes["Bush"].final == 2
    assert counts.classes["Bush"].shown == 0
    assert effort.left_out == {
        "made of predictions by Label Studio's menu, so that nobody looked at them": 1,
        "begun with a prediction that is not in Label Studio any more": 1,
    }


def rows_of(effort: ProjectEffort) -> tuple[dict[str, list[str]], str]:
    """What a terminal of 80 columns shows: first word → the rest, and all of it."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_effort(Report(effort, effort.fit(), ())))
    text = console.export_text()
    return {row.split()[0]: row.split()[1:] for row in text.splitlines() if row.strip()}, " ".join(text.split())


def test_a_terminal_of_80_columns_shows_it(sittings: dict[str, Sitting]) -> None:
    effort = ProjectEffort("1.1795332051", parse_label_config(CONFIG))
    for sitting in sittings.values():
        effort.add([sitting])
    rows, text = rows_of(effort)
    assert " ".join(rows["version"]) == "images as is edits kept moved IoU rel. del. added acc. cov. saved"
    assert rows["v2"] == ["4", "50%", "2.0", "9", "2", "0.74", "2", "2", "2", "60%", "87%", "73%"]
    assert rows["Not"][:2] == ["counted:", "1"]
    assert "usual weights: 5 annotations have a time" in text
    assert "delete 0.2 (" in text

    drawn = {"id": "smart-1", "from_name": "label", "value": {"rectanglelabels": ["Tree"]}}
    effort.add([replace(sittings["edited"], result=[*sittings["edited"].result, drawn])])
    rows, text = rows_of(effort)
    assert " ".join(rows["version"]) == "im. as is edits kept moved IoU rel. del. added smart acc. cov. saved"
    assert rows["v2"] == ["5", "40%", "2.6", "11", "3", "0.74", "3", "3", "3", "1", "55%", "81%", "70%"]
    assert "delete 0.2, smart 0.3 (" in text


def test_annotations_of_which_none_can_be_counted_are_not_taken_for_none(sittings: dict[str, Sitting]) -> None:
    effort = ProjectEffort("1.1795332051", parse_label_config(CONFIG))
    assert "no annotation was made in Label Studio yet." in rows_of(effort)[1]
    effort.add([sittings["converted"]])
    _, text = rows_of(effort)
    assert "Project 1.1795332051: none of its annotations can be counted. Not counted: 1 made of predictions by" in text


def test_the_store_keeps_what_was_counted(sittings: dict[str, Sitting], file_store: ObjectStore) -> None:
    effort = ProjectEffort("1.1795332051", parse_label_config(CONFIG))
    for sitting in sittings.values():
        effort.add([sitting])
    report = Report(effort, effort.fit(), ())
    assert read_effort(file_store, effort.uid) is None
    write_effort(file_store, effort.uid, report.counted(file_store.now()))
    kept = read_effort(file_store, effort.uid)
    assert kept is not None
    newest = kept.newest("label")
    assert newest is not None
    assert (newest.version, newest.images, newest.kept, newest.final) == ("v2", 4, 9, 15)
    assert newest.saved == effort.counts["v2", "label"].total.saved()
    assert kept.saved == report.as_json()["saved_of_everything"]
    assert kept.newest("nobody's") is None
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_effort(replace(report, not_kept="it is [bold]read only[/]")))
    assert "the store did not take it: it is [bold]read only[/]" in " ".join(console.export_text().split())
