"""Cycles: annotators work, faults strike at random moments, all heals, and the promises are looked at."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from shared.errors import LabelloopError
from tests.faults.faults import Fault, Heal, available
from tests.faults.promises import PROMISES, Check
from tests.faults.report import Report
from tests.faults.world import FUNCTIONS, World

_PAUSE = (0.1, 1.2)  # seconds between the beginnings of two faults
_TO_HIT = 60.0  # seconds until there must be something that a wanted fault can hit
_AGAIN = 10  # faults, after which an annotator works again
_SETTLE = 600.0  # seconds, after which all that was healed must be as it should
_POLL = 0.5
_LOOK = 0.05
_SILENCE = 30.0  # seconds between two words about what is waited for
_SAID = 5  # of what is wrong
_LINES = 12  # of each log, with a broken promise
_CHANGES = (2, 4)  # of annotations in a cycle


@dataclass(slots=True)
class Play:
    """A world, a seed, and what came of it."""

    world: World
    rng: random.Random
    say: Callable[[str], None]
    report: Report
    settle: float = _SETTLE
    _probes: list["_Probe"] = field(default_factory=list)
    _lasting: dict[str, tuple[float, Heal]] = field(default_factory=dict)  # place: when it ends, and how
    _pressed: set[str] = field(default_factory=set)  # failed runs after which a person asked for another

    def begin(self, annotated: int) -> None:
        """The first training, of so many tasks and many epochs: no later one has to learn everything in one."""
        self.world.project.change(self.rng, annotated)
        until = time.monotonic() + _TO_HIT
        while not ((claim := self.world.jobs.read().training) and claim.job):
            if time.monotonic() > until:
                raise TimeoutError(f"no training began within {_TO_HIT:.0f} s\n{self._logs()}")
            _pass(_POLL)
        self.world.train_briefly()
        self.look([])

    def cycle(self, faults: Sequence[Fault] | int, *, changes: int | None = None) -> list[str]:
        """Play so many random faults, or these; what is broken afterwards. They overlap, each on a place of its own."""
        self.world.project.change(self.rng, changes or self.rng.randint(*_CHANGES))
        struck: list[str] = []
        try:
            for wanted in [None] * faults if isinstance(faults, int) else faults:
                self._go_on(self.rng.uniform(*_PAUSE))
                if struck and not len(struck) % _AGAIN:
                    self.world.project.change(self.rng, 1)
                fault, heal = self._strike(wanted)
                seconds = self.rng.uniform(*fault.seconds)
                self._lasting[fault.hits] = (time.monotonic() + seconds, heal)
                struck.append(fault.name)
                self.say(f"  {fault.name}" + (f", {seconds:.1f} s" if seconds else ""))
                self._probes.append(probe := _Probe(self.world, fault, self._two_tasks()))
                probe.start()
            while self._lasting:
                self._go_on(_POLL)
        finally:
            for _, heal in self._lasting.values():
                heal()
            self._lasting.clear()
            self.report.cycles += 1
        return self.look(struck)

    def _go_on(self, seconds: float) -> None:
        """Let so much time pass, and end what is over meanwhile."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for place in [place for place, (end, _) in self._lasting.items() if end <= now]:
                _, heal = self._lasting.pop(place)
                heal()
            _pass(min(until - now, _LOOK))

    def _strike(self, wanted: Fault | None) -> tuple[Fault, Heal]:
        """A fault that is wanted waits for something to hit. Raises TimeoutError."""
        until = time.monotonic() + _TO_HIT
        while True:
            kinds = [kind for kind in available(self.world) if kind.hits not in self._lasting]
            fault = wanted or self.rng.choices(kinds, [self._weight(kind) for kind in kinds])[0]
            training = bool(self.world.job_processes())
            heal = None if fault.hits in self._lasting else fault.strike(self.world, self.rng)
            if heal is not None:
                counts = self.report.of(fault.name)
                counts.struck += 1
                counts.in_training += training
                return fault, heal
            if wanted and time.monotonic() > until:
                raise TimeoutError(f"nothing that {fault.name!r} can hit within {_TO_HIT:.0f} s\n{self._logs()}")
            if wanted:
                self._go_on(_POLL)

    def _weight(self, kind: Fault) -> float:
        """Kinds that have not struck often are chosen rather."""
        return kind.weight / (1 + self.report.of(kind.name).struck) ** 2

    def _two_tasks(self) -> list[int]:
        return self.rng.sample(sorted(self.world.project.tasks), 2)

    def look(self, struck: list[str]) -> list[str]:
        """Wait until every promise holds; what does not."""
        broken = self._join_probes()
        until = time.monotonic() + self.settle
        for name, check in PROMISES.items():
            found = self._eventually(name, check, until)
            broken += [f"{name}: {one}" for one in found]
        for sentence in broken:
            self.say(f"BROKEN {sentence}\n  after: {', '.join(struck)}\n{self._logs()}")
        self.report.broken += [f"{sentence} (after {', '.join(struck)})" for sentence in broken]
        for name in set(struck):
            self.report.of(name).broken += bool(broken)
        return broken

    def _eventually(self, name: str, check: Check, until: float) -> list[str]:
        """What is still wrong when the time is over."""
        begin = said = time.monotonic()
        while True:
            try:
                found = check(self.world)
            except (requests.RequestException, LabelloopError) as error:
                found = [f"{type(error).__name__}: {error}"]
            down = [function for function in FUNCTIONS if not self.world.healthy(function)]
            if not found and not down:
                return []
            found = found[:_SAID] + [f"{function} does not answer" for function in down]
            if time.monotonic() > until:
                return found
            if time.monotonic() > said + _SILENCE:
                said = time.monotonic()
                self.say(f"  waiting for {name!r} since {said - begin:.0f} s: {found[0][:200]}")
            self._press_start()
            _pass(_POLL)

    def _press_start(self) -> None:
        """After a run that failed a person asks for the next one: by itself it comes after ten minutes."""
        record = self.world.jobs.read()
        last = record.last_run
        if record.training or not last or last.outcome != "failed" or last.run_id in self._pressed:
            return
        try:
            self.world.press_start()
        except requests.RequestException:
            return
        self._pressed.add(last.run_id)
        self.report.failed += 1
        self.say(f"  a run failed: {last.message[:200]}; a person asks for another")

    def _join_probes(self) -> list[str]:
        broken = []
        for probe in self._probes:
            probe.join()
            counts = self.report.of(probe.fault.name)
            counts.answered += probe.answered
            counts.empty += probe.empty
            counts.down += probe.down
            broken += probe.broken
        self._probes.clear()
        return broken

    def _logs(self) -> str:
        supervisor = self.world.supervisor
        logs = [supervisor.log(name) for name in (*FUNCTIONS, "sweeper")]
        jobs = sorted(Path(self.world.settings.work_dir, "logs").glob("*.log"), key=lambda log: log.stat().st_mtime)
        return "\n".join(f"  {log.name}:\n{_last_lines(log)}" for log in (*logs, *jobs[-2:]) if log.exists())


class _Probe(threading.Thread):
    """Asks predict for two tasks while a fault lasts."""

    def __init__(self, world: World, fault: Fault, tasks: list[int]) -> None:
        super().__init__(daemon=True)
        self.fault = fault
        self._world = world
        self._tasks = tasks
        self._log = world.supervisor.log("predict")
        self.answered = self.empty = self.down = 0  # tasks
        self.broken: list[str] = []

    def run(self) -> None:
        """Ask, and judge the answer."""
        begin = self._log.stat().st_size
        asked = time.monotonic()
        try:
            answer = self._world.ask_predict(self._tasks)
        except requests.RequestException as error:
            if self._world.may_be_down("predict", asked):
                self.down = len(self._tasks)
            else:
                self._break(f"nobody killed it, and there was no answer: {type(error).__name__} {error}")
            return
        if answer.status_code == 503 and self._logged(begin, "out_of_memory"):
            self.empty = len(self._tasks)  # no memory to read who asks for what
            return
        if answer.status_code != 200:
            self._break(f"{answer.status_code} {answer.text[:200]}")
            return
        self._world.answered("predict", asked)
        results = answer.json()["results"]
        self.empty = sum(not result for result in results)
        self.answered = len(results) - self.empty
        if len(results) != len(self._tasks):
            self._break(f"{len(results)} answers for {len(self._tasks)} tasks")
        if self.empty and not self._logged(begin, "not_predicted"):
            self._break("answered [] without a reason in the log")

    def _logged(self, begin: int, event: str) -> bool:
        with self._log.open("rb") as log:
            log.seek(begin)
            return f'"event": "{event}"'.encode() in log.read()

    def _break(self, sentence: str) -> None:
        self.broken.append(f"a prediction during {self.fault.name!r}: {sentence}")


def _last_lines(log: Path) -> str:
    return "\n".join(f"    {line[:400]}" for line in log.read_text(errors="replace").splitlines()[-_LINES:])


def _pass(seconds: float) -> None:
    """The moments of faults are random, and so is the time that they last."""
    time.sleep(seconds)
