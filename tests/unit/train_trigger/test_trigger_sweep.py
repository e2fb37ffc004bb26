"""The sweep: whom it asks, in which order, and what it says; the clock is the test's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.sweep import sweep
from shared.objectstore import Stored, Token
from shared.objectstore.file import FileStore
from shared.state import claims, jobs_fields
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from tests.fakes.threads import ClockedThreads


class Store(FileStore):
    """A store whose clock is the test's."""

    minute = 0
    threads: ClockedThreads
    read_seconds = 0.0

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        self.threads.now += self.read_seconds
        return super().get(key, if_changed_from)

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self.minute)


class Trial:
    """Known projects, and a reconcile that takes a second of the test's clock."""

    def __init__(self, folder: Path, projects: int) -> None:
        self.store, self.threads = Store(f"file://{folder}"), ClockedThreads()
        self.store.threads = self.threads
        self.asked: list[str] = []
        for number in range(projects):
            write_project(self.store, f"{number:04d}.1", label_config="<View/>")

    def jobs(self, number: int) -> Jobs:
        return Jobs(self.store, f"{number:04d}.1")

    def sweep(self, seconds: float) -> dict[str, Any]:
        self.asked.clear()
        return sweep(self.store, self._reconcile, self.threads, seconds=seconds)

    def _reconcile(self, uid: str, *, sweeping: bool) -> Reconciled:
        assert sweeping
        self.asked.append(uid)
        self.threads.now += 1
        return Reconciled("waiting", "not yet")


def test_projects_with_a_run_come_before_those_about_which_label_studio_must_be_asked(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 60)
    for number in (7, 33):
        trial.jobs(number).update(claims.take, "run", lifetime=60)
    trial.sweep(1000)
    assert set(trial.asked[:2]) == {"0007.1", "0033.1"}
    assert len(trial.asked) == 60


def test_closed_projects_are_asked_about_a_few_at_a_time_and_before_those_without_a_run(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 40)
    closed = {f"{number:04d}.1" for number in range(20)}
    for number in range(20):
        trial.jobs(number).update(jobs_fields.close)
    asked: set[str] = set()
    for _ in range(40):
        trial.store.minute += 1
        summary = trial.sweep(1000)
        assert (summary["projects"], summary["not_reached"]) == (40, 0)
        assert summary["outcomes"] == {"waiting": 28, "nothing": 12}
        assert set(trial.asked[:8]) <= closed
        asked.update(trial.asked)
    assert len(asked) == 40, "everybody's turn comes"


def test_where_time_is_short_everybodys_turn_comes(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 100)
    asked: set[str] = set()
    for _ in range(30):
        trial.store.minute += 1
        summary = trial.sweep(10)
        assert summary["not_reached"] == 100 - len(trial.asked)
        asked.update(trial.asked)
    assert len(asked) == 100


def test_where_reading_takes_all_the_time_half_of_it_is_kept_for_looking(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 100)
    trial.store.read_seconds = 1
    assert trial.sweep(40)["projects"] == 100
    assert 0 < len(trial.asked) < 40


def test_it_goes_on_after_one_project_that_cannot_be_read(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 3)
    (tmp_path / "projects" / "0001.1" / "jobs.json").write_bytes(b"{")
    assert trial.sweep(1000)["not_reached"] == 0
    assert len(trial.asked) == 3  # reconcile says what is wrong with it


def test_the_summary_names_a_hundred_projects_at_most(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 150)
    summary = trial.sweep(1000)
    assert (len(summary["details"]), summary["outcomes"]) == (100, {"waiting": 150})
