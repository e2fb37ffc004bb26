"""Runs one simulation: projects with a history, then load, then time until all runs have ended."""

import gc
import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta

import tenacity

from bench.scale.bucket import EPOCH, Bucket
from bench.scale.checks import Checks
from bench.scale.clock import Clock
from bench.scale.gpus import CONTROL, Gpus, manifest_of
from bench.scale.label_studio import LabelStudio, uid_of
from bench.scale.load import Load
from bench.scale.plan import Plan
from shared.objectstore import selftest
from shared.state import keys
from shared.state.jobs_record import JobsRecord, LastRun
from shared.state.projects import Project
from shared.state.runs import Baseline, Totals
from shared.state.versions import Pointer

_STEP = 30.0  # virtual seconds between lines of progress


class Simulation:
    """All parts of a simulation."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = Clock()
        # tenacity has the only clock in the code under test that is no parameter.
        tenacity.time = tenacity.nap.time = self.clock  # type: ignore[assignment, attr-defined]
        random.seed(plan.seed)  # of tenacity's pauses
        logging.disable(logging.CRITICAL)
        self.bucket = Bucket(self.clock, plan.seed)
        self.label_studio = LabelStudio(self.clock, plan)
        self.checks = Checks(self.clock, plan, self.label_studio)
        self.gpus = Gpus(self.clock, plan, self.bucket, self.label_studio, self.checks)
        self._remember()
        self.bucket.written = self.checks.written
        self.load = Load(self.clock, plan, self.bucket, self.label_studio, self.gpus)

    def run(self, say: Callable[[str], None]) -> float:
        """Run it; answers the seconds of CPU that it took. `say`: shows progress."""
        plan, clock, began = self.plan, self.clock, time.process_time()
        gc.freeze()  # else each collection would visit millions of permanent objects
        self.load.begin()
        while clock.now < plan.seconds:
            clock.run(min(clock.now + _STEP, plan.seconds))
            self._say(say, began)
        self.load.mark()
        while not self._quiet() and clock.now < plan.seconds + plan.drain:
            clock.run(clock.now + _STEP)
            self._say(say, began)
        if plan.drain:
            self.checks.at_the_end()
        say("")
        return time.process_time() - began

    def _quiet(self) -> bool:
        due = any(project.due_at is not None for project in self.label_studio.projects.values())
        return self.gpus.idle and not self.checks.active and not due

    def _say(self, say: Callable[[str], None], began: float) -> None:
        say(
            f"{self.clock.now:7.0f} s simulated in {time.process_time() - began:4.0f} s of CPU: {self.load.sent} "
            f"events, {len(self.checks.active)} claims, {self.label_studio.waiting} wait for Label Studio"
        )

    def _remember(self) -> None:
        """Write the history of projects: of all but new ones a baseline, a version and a pointer."""
        before = EPOCH - timedelta(seconds=max(3600.0, 2 * self.plan.cool_down))
        self.bucket.write(selftest.RESULT, b"{}")
        config = Project(label_config="<View/>").to_json()
        for number, project in self.label_studio.projects.items():
            uid = uid_of(number)
            self.bucket.write(keys.project(uid), config)
            if project.trained_changes is None:
                continue
            count = project.count - len(project.changes)
            baseline = Baseline(
                totals=Totals(total_annotations_number=count, num_tasks_with_annotations=count), read_at=before
            )
            last_run = LastRun(run_id="run-0", outcome="promoted", ended_at=before)
            record = JobsRecord(fence=1000, baseline=baseline, last_run=last_run)
            pointer = Pointer(serial="0", version=1, fence=1000, run_id="run-0", reason="promote", moved_at=before)
            manifest = manifest_of(1, run_id="run-0", fence=1000, created_at=before, passed=True)
            self.bucket.write(keys.jobs(uid), record.to_json())
            self.bucket.write(keys.pointer(uid, CONTROL), pointer.to_json())
            self.bucket.write(keys.manifest(uid, CONTROL, 1), manifest.to_json())
