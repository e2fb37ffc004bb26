"""Checks invariants from outside: at each write to the bucket, and when jobs start and end."""

import json
from array import array
from collections import Counter, defaultdict
from urllib.parse import unquote

from bench.scale.clock import Clock
from bench.scale.label_studio import LabelStudio
from bench.scale.plan import Plan


class Checks:
    """Counts violations, and measures launches and starts."""

    def __init__(self, clock: Clock, plan: Plan, label_studio: LabelStudio) -> None:
        self._clock, self._plan, self._label_studio = clock, plan, label_studio
        self.broken: Counter[str] = Counter()
        self.active: set[str] = set()  # projects with a claim
        self.to_launch, self.to_start = array("d"), array("d")  # seconds since a training was due
        self.swept_to_launch = array("d")  # the same, after the load: found by the sweep
        self.without_need = 0
        self._live: dict[str, set[str]] = defaultdict(set)  # uid → nonces
        self._forgotten: set[str] = set()
        self._due: dict[str, float] = {}  # run id → when the training was due
        self._fences: dict[str, int] = {}
        self._pointers: dict[str, tuple[int, int]] = {}
        self._promoted: set[str] = set()
        self._begun: set[str] = set()
        self.ended_runs: Counter[str] = Counter()

    def written(self, key: str, data: bytes) -> None:
        """Called for every write to the bucket."""
        if key.endswith("/jobs.json"):
            self._claim(unquote(key.split("/")[1]), json.loads(data))
        elif key.endswith("/pointer.json"):
            self._pointer(unquote(key.split("/")[1]), json.loads(data))

    def launched(self, uid: str, run_id: str) -> None:
        """The launcher accepted an attempt of a run; only the first of a run counts."""
        project = self._label_studio.projects[int(uid.partition(".")[0])]
        if run_id in self._due:
            return
        if project.due_at is None:
            self.without_need += 1
            return
        self._due[run_id] = project.due_at
        loaded = self._clock.now < self._plan.seconds
        (self.to_launch if loaded else self.swept_to_launch).append(self._clock.now - project.due_at)
        project.due_at = None

    def started(self, uid: str, run_id: str, nonce: str) -> None:
        """A job took the claim."""
        if self._live[uid] - self._forgotten:
            self.broken["two jobs of a project at once"] += 1
        self._live[uid].add(nonce)
        if run_id in self._due and run_id not in self._begun:
            self._begun.add(run_id)
            self.to_start.append(self._clock.now - self._due[run_id])

    def forgotten(self, nonce: str) -> None:
        """The launcher reports a job as failed that still runs; claim and fence must stop it."""
        self._forgotten.add(nonce)

    def ended(self, uid: str, nonce: str) -> None:
        """The job's process ended."""
        self._live[uid].discard(nonce)

    def at_the_end(self) -> None:
        """Count runs that did not end, and trainings that are due."""
        self.broken["runs that never ended"] += len(self.active)
        due = sum(project.due_at is not None for project in self._label_studio.projects.values())
        self.broken["projects whose training was due and not started"] += due

    def _claim(self, uid: str, record: dict) -> None:  # type: ignore[type-arg]
        if record["fence"] < self._fences.get(uid, 0):
            self.broken["fences that went back"] += 1
        self._fences[uid] = record["fence"]
        if record["training"]:
            self.active.add(uid)
        elif uid in self.active:
            self.active.remove(uid)
            self.ended_runs[record["last_run"]["outcome"]] += 1

    def _pointer(self, uid: str, pointer: dict) -> None:  # type: ignore[type-arg]
        version, fence = self._pointers.get(uid, (0, 0))
        if pointer["version"] <= version or pointer["fence"] < fence:
            self.broken["pointers that went back"] += 1
        if pointer["run_id"] in self._promoted:
            self.broken["runs that promoted twice"] += 1
        if pointer["fence"] < self._fences.get(uid, 0):
            self.broken["promotions under an old fence"] += 1
        self._promoted.add(pointer["run_id"])
        self._pointers[uid] = pointer["version"], pointer["fence"]
