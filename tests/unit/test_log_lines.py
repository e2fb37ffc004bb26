"""The follower of log files: new JSON lines once each, whole ones only."""

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
