"""Any order of sweeps, jobs, rollbacks, lost answers and time: one owner, growing fences, rollbacks that stay,
and exactly the time counted that a job with a claim ran until it wrote last.
"""

import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ClaimLost
from shared.objectstore.file import FileStore
from shared.state import claims, launches
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from shared.state.registry import Registry
from shared.state.runs import new_run_id
from tests.fakes.stores import Clocked, LosesAnswers
from tests.samples.versions import publish

LIFETIME, LONGEST_RUN = 600.0, 3600.0


class Project:
    """One project; every job process that ever started keeps its claim and goes on, also as a zombie.

    Each step takes a small number, which chooses what the step leaves open.
    """

    def __init__(self, folder: Path) -> None:
        self.flaky = LosesAnswers(FileStore(folder.as_uri()))
        self.clock = Clocked(self.flaky, datetime(2026, 1, 1, tzinfo=UTC))
        self.jobs = Jobs(self.clock, "7.1700000000")
        self.registry = Registry(self.clock, "7.1700000000")
        publish(self.registry, "first")
        self.registry.promote("label", 1, fence=0, run_id="first", expected=None)
        self.processes: list[Claim] = []
        self.seen: Claim | None = None
        self.lost: set[str | None] = set()  # nonces of processes whose claim is over
        self.rolled_back: set[str] = set()  # runs that had begun before the last rollback
        self.fences = [0]
        self.pointer_fences = [0]
        self.counted_to: dict[str | None, datetime] = {}  # nonce → the last moment at which its process wrote
        self.used = timedelta(0)
        self.took: dict[str, float] = {}  # run → seconds that its record says it took

    def lose_the_next_answer(self, _: int) -> None:
        self.flaky.lose = ["refused"]

    def time_passes(self, choice: int) -> None:
        self.clock.time += timedelta(minutes=(1, 11, 11)[choice])

    def trigger_reconciles(self, choice: int) -> None:
        """Claims, or takes over what expired; mostly the job starts then."""
        claim = self.jobs.read().training
        if claim is None:
            claim = self.jobs.update(
                claims.take,
                new_run_id(self.clock.now()),
                lifetime=LIFETIME,
                registry_fence=self.registry.fence(),
            ).held
            assert claim.fence > max(self.fences + self.pointer_fences)
        elif claim.expires_at <= self.clock.time:
            again = self.jobs.update(launches.next_attempt, claim, lifetime=LIFETIME, error="expired").held
            assert again.fence > claim.fence
        if choice:
            self.job_starts(0)

    def sweep_looks_and_later_acts(self, _: int) -> None:
        seen, self.seen = self.seen, self.jobs.read().training
        if seen is None:
            return
        try:
            self.jobs.update(launches.next_attempt, seen, lifetime=LIFETIME, error="expired")
        except ClaimLost:
            assert seen != self.seen
        else:
            assert seen == self.seen, "taken over although it lived again"

    def job_starts(self, _: int) -> None:
        claim = self.jobs.read().training
        if claim is None:
            return
        try:
            started = self.jobs.update(claims.start, claim.run_id, nonce=secrets.token_hex(4), lifetime=LIFETIME).held
        except ClaimLost:
            assert claim.state == "running"
        else:
            assert claim.state != "running"
            self.processes.append(started)
            self.counted_to[started.nonce] = self.clock.time

    def job_renews(self, choice: int) -> None:
        for process in self._process(choice):
            self._holds(process)

    def job_is_interrupted(self, choice: int) -> None:
        for process in self._process(choice):
            self._count(process)
            with suppress(ClaimLost):
                self.jobs.update(claims.interrupt, process, "SIGTERM")
            self.lost.add(process.nonce)

    def job_promotes(self, choice: int) -> None:
        """Without checking its claim first, as a process that was suspended in between."""
        for process in self._process(choice):
            version, pointer = publish(self.registry, process.run_id), self.registry.pointer("label")
            assert pointer is not None
            with suppress(ClaimLost):
                moved = self.registry.promote(
                    "label", version, fence=process.fence, run_id=process.run_id, expected=pointer.version
                ).moved
                assert not (moved and process.run_id in self.rolled_back), "a run undid a rollback"

    def job_releases(self, choice: int) -> None:
        for process in self._process(choice):
            self._count(process)
            with suppress(ClaimLost):
                self.jobs.update(claims.release, process, outcome="promoted", baseline=None)
                self.lost.add(process.nonce)

    def person_rolls_back(self, _: int) -> None:
        fence, pointer = (
            self.jobs.update(claims.next_fence, self.registry.fence()).fence,
            self.registry.pointer("label"),
        )
        assert pointer is not None
        self.registry.promote(
            "label", 1, fence=fence, run_id=f"rollback-{fence}", expected=pointer.version, reason="rollback"
        )
        active = self.jobs.read().training
        self.rolled_back |= {process.run_id for process in self.processes} | ({active.run_id} if active else set())

    def person_stops(self, _: int) -> None:
        """The run ends, whoever runs it; while its claim holds, its process counts as running until now."""
        claim = self.jobs.read().training
        if claim is not None:
            if claim.nonce in self.counted_to and self.clock.time < claim.expires_at:
                self._count(claim)
            assert self.jobs.update(claims.stop, claim.run_id, "by somebody").training is None
            self.lost.add(claim.nonce)

    def check(self) -> None:
        pointer = self.registry.pointer("label")
        assert pointer is not None
        self.fences.append(self.jobs.read().fence)
        self.pointer_fences.append(pointer.fence)
        record = self.jobs.read()
        assert sum(record.used.values()) == self.used.total_seconds()
        if record.last_run:
            self.took[record.last_run.run_id] = record.last_run.seconds or 0.0
        active = record.training.counted() if record.training else 0.0
        assert sum(self.took.values()) + active == self.used.total_seconds(), (
            "runs cost something else than budgets say"
        )
        assert self.fences == sorted(self.fences)
        assert self.pointer_fences == sorted(self.pointer_fences)
        runs = [manifest.run_id for manifest in self.registry.versions("label")]
        assert len(runs) == len(set(runs)), "a run published twice"

    def _process(self, choice: int) -> list[Claim]:
        """The newest process, or one of the two before it; empty if there are not so many."""
        return self.processes[::-1][choice : choice + 1]

    def _count(self, process: Claim) -> None:
        """What this process used since it wrote last is counted with its next write, if it still holds the claim."""
        held = self.jobs.read().training
        if held and held.nonce == process.nonce:
            self.used += self.clock.time - self.counted_to[process.nonce]
            self.counted_to[process.nonce] = self.clock.time

    def _holds(self, process: Claim) -> None:
        self._count(process)
        try:
            self.jobs.update(claims.renew, process, lifetime=LIFETIME, longest_run=LONGEST_RUN)
        except ClaimLost:
            self.lost.add(process.nonce)
            return
        assert process.nonce not in self.lost, "a process that had lost its claim has it again"
        assert process.nonce == self.processes[-1].nonce, "two owners"


STEPS = [step for name, step in vars(Project).items() if not name.startswith("_") and name != "check"]


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2)), min_size=40, max_size=60))
def test_any_order_of_events(steps: list[tuple[Callable[[Project, int], None], int]]) -> None:
    memory = Path("/dev/shm")  # where nothing waits for a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        project = Project(Path(folder))
        for step, choice in steps:
            step(project, choice)
            project.check()
