"""The follower of log files: new JSON lines once each, whole ones only."""

import shutil
import sys
from pathlib import Path

from infra.local.log_lines import LogFollower


def _events(follower: LogFollower) -> list[tuple[str, str]]:
    return [(path.stem, line["event"]) for path, line in follower.new_lines()]


def test_new_lines_come_once_and_old_ones_never(tmp_path: Path) -> None:
    log = tmp_path / "predict.log"
    log.write_text('{"event": "old"}\n')
    follower = LogFollower(tmp_path / "*.log")
    with log.open("a") as file:
        file.write('{"event": "first"}\nTraceback of somebody\n{"event": "second"}\n')
    assert _events(follower) == [("predict", "first"), ("predict", "second")]
    assert _events(follower) == []


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "predict.log"
    follower = LogFollower(tmp_path / "*.log")
    log.write_text('{"event": "who')
    assert _events(follower) == []
    with log.open("a") as file:
        file.write('le"}\n')
    assert _events(follower) == [("predict", "whole")]


def test_files_that_appear_later_are_read_from_their_start(tmp_path: Path) -> None:
    follower = LogFollower(tmp_path / "predict.log", tmp_path / "logs" / "*.log")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run-1.log").write_text('{"event": "started"}\n{broken\n[1]\n')
    assert _events(follower) == [("run-1", "started")]


def test_a_log_that_is_removed_or_cut_while_it_is_followed_ends_nothing(tmp_path: Path) -> None:
    log, other = tmp_path / "predict.log", tmp_path / "trigger.log"
    follower = LogFollower(tmp_path / "*.log")
    log.write_text('{"event": "a long first line, and a second one"}\n')
    other.write_text('{"event": "first"}\n')
    lines = follower.new_lines()
    assert next(lines)[1]["event"].startswith("a long")
    other.unlink()  # after the folder was listed
    assert list(lines) == []
    log.write_text('{"event": "cut"}\n')
    assert _events(follower) == [("predict", "cut")]
    log.unlink()
    assert _events(follower) == []
    log.write_text('{"event": "made anew, and longer than before"}\n')
    assert _events(follower) == [("predict", "made anew, and longer than before")]
    shutil.rmtree(tmp_path)
    assert _events(follower) == []


def test_a_log_that_nobody_may_read_stands_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to(tmp_path / "nowhere")  # not by root either
    (tmp_path / "b.log").mkdir()
    follower = LogFollower(tmp_path / "*.log")
    (tmp_path / "c.log").write_text('{"event": "first"}\n')
    assert _events(follower) == [("c", "first")]


def test_a_log_that_did_not_grow_is_not_opened(tmp_path: Path) -> None:
    """Each of a hundred trainings left one. An audit hook hears of every file that is opened."""
    opened: list[str] = []
    listening = [True]

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening[0] and event == "open" and str(arguments[0]).startswith(str(tmp_path)):
            opened.append(Path(str(arguments[0])).name)

    for number in range(100):
        (tmp_path / f"{number}.log").write_text('{"event": "old"}\n')
    follower = LogFollower(tmp_path / "*.log")
    sys.addaudithook(listen)
    try:
        assert [_events(follower) for _ in range(4)] == [[]] * 4
        assert opened == []
        with (tmp_path / "7.log").open("a") as log:
            log.write('{"event": "new"}\n')
        opened.clear()
        assert _events(follower) == [("7", "new")]
        assert opened == ["7.log"]
    finally:
        listening[0] = False
