"""What arrives where the output does not know every character: escapes, and JSON that is JSON."""

import io
import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.environment import Invocation
from infra.cli.main import app, run
from shared.objectstore import ObjectStore
from shared.state.projects import write_project
from tests.samples.shown_projects import fill

TITLE = "Bäume → 🌲"
Printed = Callable[..., str]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file_store: ObjectStore) -> Printed:
    """Runs the command on a store with one project; answers what arrives at an output of this encoding."""
    write_project(file_store, "1.1700000000", label_config="<View/>", title=TITLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELLOOP_STORE", file_store.url)

    def arrives(encoding: str, *arguments: str) -> str:
        arrived = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(arrived, encoding=encoding, write_through=True))
        monkeypatch.setattr(sys, "argv", ["labelloop", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        assert not ended.value.code
        return arrived.getvalue().decode(encoding)

    return arrives


def test_what_the_output_lacks_is_written_as_escapes(printed: Printed) -> None:
    assert r"B\xe4ume \u2192 \U0001f332" in printed("ascii", "status")
    assert r"Bäume \u2192 \U0001f332" in printed("latin-1", "status")
    assert TITLE in printed("utf-8", "status")
    assert r"yolo11n.pt \u2026" in printed("ascii", "base", "add", "--help")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(printed: Printed, encoding: str) -> None:
    assert json.loads(printed(encoding, "status", "--json"))["projects"][0]["title"] == TITLE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("arguments", [["status", "--json"], ["settings", "--json"], ["--help"]])
def test_an_output_that_takes_nothing_more_is_said(
    printed: Printed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "argv", ["labelloop", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
    assert (ended.value.code, capsys.readouterr().err) == (
        1,
        "labelloop: nothing more can be written: No space left on device\n",
    )


def test_a_current_folder_that_was_deleted_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "argv", ["labelloop", "settings"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert (ended.value.code, "the current folder was deleted" in capsys.readouterr().err) == (1, True)


@pytest.mark.parametrize("columns", [79, 60, 40])
@pytest.mark.parametrize("arguments", [("versions", "-p", "7"), ("settings",), ("policy", "-p", "7")])
def test_a_narrow_terminal_cuts_nothing(
    arguments: tuple[str, ...], columns: int, file_store: ObjectStore, tmp_path: Path
) -> None:
    fill(file_store, datetime(2026, 11, 27, tzinfo=UTC))

    def written(width: int) -> Counter[str]:
        invocation = Invocation({"LABELLOOP_STORE": file_store.url}, tmp_path)
        answer = CliRunner().invoke(app, arguments, obj=invocation, env={"COLUMNS": str(width)})
        assert answer.exit_code == 0
        return Counter("".join(answer.output.split()))

    assert not written(300) - written(columns)
