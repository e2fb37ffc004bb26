"""The list of what can go wrong: how each fault is made, and how it ends."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.faults import behaviours
from tests.faults.processes import kill, some_of, starve, terminate
from tests.faults.proxy import Behaviour
from tests.faults.world import World

Heal = Callable[[], object]
Server = Literal["store", "label_studio", "images", "events"]
Strike = Callable[[World, random.Random], Heal | None]
"""Does it, and answers what ends it; None: there is nothing that it could hit now."""

_HOUR = 3600.0  # seconds
_SPARE = (1 << 20, 64 << 20)  # bytes that a process may still take


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind."""

    name: str
    strike: Strike
    seconds: tuple[float, float] = (0.0, 0.0)  # shortest and longest time until it ends
    weight: float = 1.0
    needs_disk: bool = False  # one that may be filled


def _kill(name: str) -> Strike:
    def strike(world: World, rng: random.Random) -> Heal | None:
        processes = world.processes_of(name)
        if not processes:
            return None
        world.killed.add(name)
        kill(some_of(processes, rng))
        return _nothing

    return strike


def _kill_job(world: World, rng: random.Random) -> Heal | None:
    processes = world.job_processes()
    kill(processes)
    return _nothing if processes else None


def _stop_job(world: World, rng: random.Random) -> Heal | None:
    """As a spot machine that is taken away."""
    processes = world.job_processes()
    terminate(processes)
    return _nothing if processes else None


def _starve(name: str) -> Strike:
    def strike(world: World, rng: random.Random) -> Heal | None:
        processes = world.job_processes() if name == "job" else world.processes_of(name)
        if not processes:
            return None
        world.killed.add(name)
        return starve(processes, rng.randint(*_SPARE))

    return strike


def _gone(server: Server) -> Strike:
    def strike(world: World, rng: random.Random) -> Heal:
        proxy = getattr(world, server)
        proxy.vanish()
        return proxy.heal  # type: ignore[no-any-return]

    return strike


def _wrong(server: Server, make: Callable[[random.Random], Behaviour]) -> Strike:
    def strike(world: World, rng: random.Random) -> Heal:
        proxy = getattr(world, server)
        proxy.misbehave(make(rng))
        return proxy.heal  # type: ignore[no-any-return]

    return strike


def _late(world: World, rng: random.Random) -> Heal:
    late = behaviours.Late(rng)
    world.events.misbehave(late)

    def heal() -> None:
        world.events.heal()
        late.deliver()

    return heal


def _fill(world: World, rng: random.Random) -> Heal:
    return world.disk.fill()


def _nothing() -> None:
    """What was killed is started again by others."""


def _always(behaviour: Behaviour) -> Callable[[random.Random], Behaviour]:
    return lambda _: behaviour


def _some_seconds(shortest: float, longest: float) -> Callable[[random.Random], Behaviour]:
    return lambda rng: behaviours.slow(rng.uniform(shortest, longest))


SHORT, LONGER, LONG = (0.5, 4.0), (2.0, 8.0), (20.0, 60.0)

FAULTS = (
    Fault("kill -9 the training job", _kill_job, weight=2),
    Fault("SIGTERM to the training job", _stop_job),
    Fault("kill -9 predict", _kill("predict")),
    Fault("kill -9 train_trigger", _kill("train_trigger"), weight=2),
    Fault("kill -9 the sweeper", _kill("sweeper")),
    Fault("store: gone", _gone("store"), SHORT, weight=2),
    Fault("store: gone for long", _gone("store"), LONG, weight=0.1),
    Fault("store: takes requests, does not answer", _wrong("store", _always(behaviours.hang)), SHORT),
    Fault("store: 0.2 to 1 s an answer", _wrong("store", _some_seconds(0.2, 1)), LONGER),
    Fault("store: 503", _wrong("store", _always(behaviours.status(503))), SHORT),
    Fault("store: answers cut", _wrong("store", _always(behaviours.cut)), SHORT),
    Fault("store: answers lost after the write", _wrong("store", behaviours.lose_answers), LONGER, weight=2),
    Fault("store: clock an hour ahead", _wrong("store", _always(behaviours.clock(_HOUR))), LONGER),
    Fault("store: clock an hour behind", _wrong("store", _always(behaviours.clock(-_HOUR))), LONGER),
    Fault("Label Studio: gone", _gone("label_studio"), SHORT, weight=2),
    Fault("Label Studio: gone for long", _gone("label_studio"), LONG, weight=0.1),
    Fault("Label Studio: takes requests, does not answer", _wrong("label_studio", _always(behaviours.hang)), SHORT),
    Fault("Label Studio: 0.3 to 2 s an answer", _wrong("label_studio", _some_seconds(0.3, 2)), LONGER),
    Fault("Label Studio: 502", _wrong("label_studio", _always(behaviours.status(502))), SHORT),
    Fault("Label Studio: 404 of a proxy", _wrong("label_studio", _always(behaviours.status(404))), SHORT),
    Fault("Label Studio: token refused", _wrong("label_studio", _always(behaviours.status(401))), SHORT),
    Fault("Label Studio: answers cut", _wrong("label_studio", _always(behaviours.cut)), SHORT),
    Fault("Label Studio: clock an hour ahead", _wrong("label_studio", _always(behaviours.clock(_HOUR))), LONGER),
    Fault("Label Studio: clock an hour behind", _wrong("label_studio", _always(behaviours.clock(-_HOUR))), LONGER),
    Fault("events: lost", _wrong("events", _always(behaviours.lose_events)), LONGER),
    Fault("events: doubled", _wrong("events", _always(behaviours.double)), LONGER),
    Fault("events: late, in another order", _late, LONGER),
    Fault("images: gone", _gone("images"), SHORT),
    Fault("images: 503", _wrong("images", _always(behaviours.status(503))), SHORT),
    Fault("images: cut", _wrong("images", _always(behaviours.cut)), SHORT),
    Fault("images: take requests, do not answer", _wrong("images", _always(behaviours.hang)), SHORT),
    Fault("images: said to be 100 GB", _wrong("images", _always(behaviours.huge)), SHORT),
    Fault("images: without end", _wrong("images", _always(behaviours.endless)), SHORT),
    Fault("images: broken", _wrong("images", behaviours.broken), SHORT),
    Fault("disk full", _fill, SHORT, needs_disk=True),
    Fault("memory short: training job", _starve("job"), SHORT),
    Fault("memory short: predict", _starve("predict"), SHORT),
    Fault("memory short: train_trigger", _starve("train_trigger"), SHORT),
)


def available(world: World) -> Sequence[Fault]:
    """Those that can be made here."""
    return [fault for fault in FAULTS if world.disk.own or not fault.needs_disk]
