"""Scratch of runs that were killed goes at the start of a later run; that of a run which is alive never does."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jobs.train.scratch import locked, remove, remove_abandoned, scratch_of
from tests.fakes.train_parts import UID, settings_for

_ROOT = Path(__file__).parents[2]
_HOLD = """
import sys
from pathlib import Path
from jobs.train.scratch import locked
with locked(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "pictures").mkdir(exist_ok=True)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def run_in(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a run's folder."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)], cwd=_ROOT, stdin=-1, stdout=-1, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_what_killed_runs_left_goes_and_what_is_alive_stays(tmp_path: Path) -> None:
    killed, alive = scratch_of(tmp_path, UID, "20990101-000000-aa"), scratch_of(tmp_path, "2.2", "20200101-000000-aa")
    mine, odd = scratch_of(tmp_path, UID, "20250101-000000-aa"), tmp_path / "runs" / UID / "a file"
    with run_in(killed) as first, run_in(alive), run_in(alive) as again, run_in(mine) as before:
        odd.write_text("nobody's")
        kill(first)
        kill(again)  # an attempt of the same run, beside the one that lives
        kill(before)
        remove_abandoned(tmp_path, keep=mine)
        assert not killed.exists()
        assert (alive / "pictures").is_dir()
        assert (mine / "pictures").is_dir(), "the run that goes on here finds what it fetched"
        assert odd.exists()
    remove_abandoned(tmp_path)
    assert not alive.exists()
    assert not alive.parent.exists()


def test_a_folder_that_is_removed_and_made_again_is_held_by_whoever_has_it(tmp_path: Path) -> None:
    """Nobody's files vanish, however many come and clean at once."""
    folder = tmp_path / "runs" / UID / "run"

    def use(number: int) -> None:
        for _ in range(30):
            with locked(folder):
                path = folder / str(number)
                path.write_text("x")
                assert path.read_text() == "x"
            remove(folder)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
    remove(folder)
    assert not folder.exists()


def test_old_logs_of_local_jobs_go(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for number in range(205):
        (tmp_path / "logs" / f"20260101-{number:06d}-aa-1.log").touch()
    remove_abandoned(tmp_path)
    assert sorted(os.listdir(tmp_path / "logs"))[0] == "20260101-000005-aa-1.log"


def test_a_job_begins_by_removing_what_is_left_and_leaves_nothing(tmp_path: Path) -> None:
    left = scratch_of(tmp_path / "work", "2.2", "20990101-000000-aa")
    (left / "pictures").mkdir(parents=True)
    settings = settings_for("http://127.0.0.1:1", tmp_path)
    request = json.dumps({"store": settings.store, "project_uid": UID, "run_id": "of-nobody"})
    environ = settings.to_environ() | {"TRAIN_REQUEST": request, "PATH": os.environ["PATH"]}
    job = subprocess.run(
        [sys.executable, "-m", "jobs.train"], env=environ, cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert (job.returncode, "run of-nobody has ended" in job.stderr) == (0, True), job.stderr
    assert not left.exists()
    assert not list((tmp_path / "work" / "runs").iterdir())
