"""The folder of a demo, which no two plays share, and the file of its report."""

from pathlib import Path

import pytest

from infra.demo.main import check_report, new_folder
from infra.local.processes import StartError


def test_two_plays_that_begin_in_the_same_second_have_a_folder_each(tmp_path: Path) -> None:
    """They shared Label Studio's database once: the second one's account took the place of the first one's."""
    folders = {new_folder(None, tmp_path / "demo") for _ in range(5)}

    assert len(folders) == 5
    assert all(folder.parent == tmp_path / "demo" for folder in folders)


def test_a_folder_that_is_asked_for_must_be_empty(tmp_path: Path) -> None:
    asked = tmp_path / "mine"
    assert new_folder(asked, tmp_path / "demo") == asked
    assert new_folder(asked, tmp_path / "demo") == asked, "nothing was written yet"

    (asked / "label-studio").mkdir()

    with pytest.raises(StartError, match="mine is not empty: the demo needs a new folder"):
        new_folder(asked, tmp_path / "demo")


def test_what_cannot_be_written_is_named_before_the_demo_plays(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"--folder .*/file/mine cannot be made: Not a directory"):
        new_folder(tmp_path / "file" / "mine", tmp_path / "demo")
    with pytest.raises(StartError, match=r"--report .*: there is no folder .*/nowhere$"):
        check_report(tmp_path / "nowhere" / "report.json")
    with pytest.raises(StartError, match=r"--report .*: it is a folder"):
        check_report(tmp_path)
    check_report(tmp_path / "report.json")
    check_report(tmp_path / "file")
