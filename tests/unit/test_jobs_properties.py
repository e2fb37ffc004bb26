"""Any order of sweeps, jobs, rollbacks, lost answers and time: one owner, growing fences, rollbacks that stay."""

import secrets
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.errors import ClaimLost, PreconditionFailed
from shared.jobs import Claim, Jobs
from shared.objectstore.file import FileStore
from shared.registry import Registry
from tests.stores import Clocked, LosesAnswers
from tests.unit.test_registry import publish

UID = "7.1700000000"
LIFETIME, LONGEST_RUN = 600.0, 3600.0


class Project(RuleBasedStateMachine):
    """One project; every job process that ever started keeps its claim and goes on, also as a zombie."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.flaky = LosesAnswers(FileStore(Path(self.folder.name).as_uri()))
        self.clock = Clocked(self.flaky, datetime(2026, 1, 1, tzinfo=UTC))
        self.jobs = Jobs(self.clock, UID)
        self.registry = Registry(self.clock, UID)
        publish(self.registry, "first")
        self.registry.promote("label", 1, fence=0, run_id="first", expected=None)
        self.processes: list[Claim] = []
        self.lost: set[str] = set()  # nonces of processes that were told so
        self.rolled_back: set[str] = set()  # runs that were active at a rollback
        self.fences = [0]
        self.pointer_fences = [0]

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule()
    def lose_the_next_answer(self) -> None:
        self.flaky.lose = ["refused"]

    @rule(minutes=st.integers(1, 15))
    def time_passes(self, minutes: int) -> None:
        self.clock.time += timedelta(minutes=minutes)

    @rule()
    def trigger_claims(self) -> None:
        before = self.jobs.read().training
        claim, ours = self.jobs.claim(
            lifetime=LIFETIME, forced=False, registry_fence=self.registry.fence(), may_claim=lambda _: True
        )
        assert ours == (before is None)
        if ours:
            assert claim.fence > max(self.fences + self.pointer_fences)

    @rule()
    def sweep_takes_over(self) -> None:
        claim = self.jobs.read().training
        if claim and claim.expires_at <= self.clock.time:
            again = self.jobs.next_attempt(claim, lifetime=LIFETIME, error="expired")
            assert again.fence > claim.fence

    @rule()
    def job_starts(self) -> None:
        claim = self.jobs.read().training
        if claim is None:
            return
        nonce = secrets.token_hex(4)
        try:
            self.processes.append(self.jobs.start(claim.run_id, nonce=nonce, lifetime=LIFETIME))
        except ClaimLost:
            assert claim.state == "running"
        else:
            assert claim.state != "running"

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def job_renews(self, data: st.DataObject) -> None:
        self._renew(self._some_process(data))

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def job_is_interrupted(self, data: st.DataObject) -> None:
        claim = self._some_process(data)
        with suppress(ClaimLost):
            self.jobs.interrupt(claim, "SIGTERM")
        self.lost.add(str(claim.nonce))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), careful=st.booleans())
    def job_promotes(self, data: st.DataObject, careful: bool) -> None:
        """Also without asking for its claim first, as a process does that slept in between."""
        claim = self._some_process(data)
        if careful and not self._renew(claim):
            return
        version = publish(self.registry, claim.run_id)
        pointer = self.registry.pointer("label")
        assert pointer is not None
        try:
            promotion = self.registry.promote(
                "label", version, fence=claim.fence, run_id=claim.run_id, expected=pointer.version
            )
        except ClaimLost:
            return
        if promotion.moved:
            assert claim.run_id not in self.rolled_back, "a run undid a rollback"

    @precondition(lambda self: self.processes)
    @rule(data=st.data())
    def job_releases(self, data: st.DataObject) -> None:
        claim = self._some_process(data)
        try:
            self.jobs.release(claim, outcome="promoted", baseline=None)
        except ClaimLost:
            return
        self.lost.add(str(claim.nonce))

    @rule()
    def person_rolls_back(self) -> None:
        fence = self.jobs.next_fence(self.registry.fence())
        pointer = self.registry.pointer("label")
        assert pointer is not None
        try:
            self.registry.promote(
                "label", 1, fence=fence, run_id=f"rollback-{fence}", expected=pointer.version, reason="rollback"
            )
        except PreconditionFailed:
            return
        self.rolled_back |= {process.run_id for process in self.processes}
        active = self.jobs.read().training
        if active:
            self.rolled_back.add(active.run_id)

    @invariant()
    def fences_only_grow(self) -> None:
        self.fences.append(self.jobs.read().fence)
        pointer = self.registry.pointer("label")
        assert pointer is not None
        self.pointer_fences.append(pointer.fence)
        assert self.fences == sorted(self.fences)
        assert self.pointer_fences == sorted(self.pointer_fences)

    @invariant()
    def every_run_made_one_version_at_most(self) -> None:
        runs = [manifest.run_id for manifest in self.registry.versions("label")]
        assert len(runs) == len(set(runs))

    def _some_process(self, data: st.DataObject) -> Claim:
        return data.draw(st.sampled_from(self.processes))

    def _renew(self, claim: Claim) -> bool:
        try:
            self.jobs.renew(claim, lifetime=LIFETIME, longest_run=LONGEST_RUN)
        except ClaimLost:
            self.lost.add(str(claim.nonce))
            return False
        assert claim.nonce not in self.lost, "a process that had lost its claim has it again"
        newest = self.processes[-1]
        assert claim.nonce == newest.nonce, "two owners"
        return True


Project.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestProject = Project.TestCase
