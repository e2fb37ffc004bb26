"""The list of what can go wrong: how each fault is made, and how it ends."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.faults import behaviours
from tests.faults.processes import kill, some_of, starve, terminate
from tests.faults.proxy import Behaviour, Proxy
from tests.faults.world import World

Heal = Callable[[], object]
Server = Literal["store", "label_studio", "images", "events"]
Strike = Callable[[World, random.Random], Heal | None]
"""Does it, and answers what ends it; None: there is nothing that it could hit now."""

Make = Callable[[random.Random], Behaviour]

SHORT, LONGER, LONG = (0.3, 3.0), (1.0, 6.0), (20.0, 60.0)  # seconds
_HOUR = 3600.0  # seconds
_SPARE = (1 << 20, 64 << 20)  # bytes that a process may still take


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind."""

    name: str
    hits: str  # the server, program or disk; two faults never hit the same at once
    strike: Strike
    seconds: tuple[float, float] = (0.0, 0.0)  # shortest and longest time until it ends
    weight: float = 1.0
    needs_disk: bool = False  # one that may be filled


def _kill(name: str) -> Strike:
    def strike(world: World, rng: random.Random) -> Heal | None:
        processes = world.processes_of(name)
        if not processes:
            return None
        world.kills[name] = time.monotonic()
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
        world.kills[name] = time.monotonic()
        give_back = starve(processes, rng.randint(*_SPARE))

        def heal() -> None:
            give_back()
            world.kills[name] = time.monotonic()  # it may have ended until now

        return heal

    return strike


def _gone(name: str, server: Server, seconds: tuple[float, float] = SHORT, *, weight: float = 1.0) -> Fault:
    def strike(world: World, rng: random.Random) -> Heal:
        proxy: Proxy = getattr(world, server)
        proxy.vanish()
        return proxy.heal

    return Fault(name, server, strike, seconds, weight)


def _wrong(
    name: str, server: Server, make: Make, seconds: tuple[float, float] = SHORT, *, weight: float = 1.0
) -> Fault:
    def strike(world: World, rng: random.Random) -> Heal:
        proxy: Proxy = getattr(world, server)
        proxy.misbehave(make(rng))
        return proxy.heal

    return Fault(name, server, strike, seconds, weight)


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


def _always(behaviour: Behaviour) -> Make:
    return lambda _: behaviour


def _some_seconds(shortest: float, longest: float) -> Make:
    return lambda rng: behaviours.slow(rng.uniform(shortest, longest))


FAULTS = (
    Fault("kill -9 the training job", "job", _kill_job, weight=2),
    Fault("SIGTERM to the training job", "job", _stop_job),
    Fault("kill -9 predict", "predict", _kill("predict")),
    Fault("kill -9 train_trigger", "train_trigger", _kill("train_trigger"), weight=2),
    Fault("kill -9 the sweeper", "sweeper", _kill("sweeper")),
    _gone("store: gone", "store", weight=2),
    _gone("store: gone for long", "store", LONG, weight=0.1),
    _wrong("store: takes requests, does not answer", "store", _always(behaviours.hang)),
    _wrong("store: 0.2 to 1 s an answer", "store", _some_seconds(0.2, 1), LONGER),
    _wrong("store: 503", "store", _always(behaviours.status(503))),
    _wrong("store: answers cut", "store", _always(behaviours.cut)),
    _wrong("store: answers lost after the write", "store", behaviours.lose_answers, LONGER, weight=2),
    _wrong("store: clock an hour ahead", "store", _always(behaviours.clock(_HOUR)), LONGER),
    _wrong("store: clock an hour behind", "store", _always(behaviours.clock(-_HOUR)), LONGER),
    _gone("Label Studio: gone", "label_studio", weight=2),
    _gone("Label Studio: gone for long", "label_studio", LONG, weight=0.1),
    _wrong("Label Studio: takes requests, does not answer", "label_studio", _always(behaviours.hang)),
    _wrong("Label Studio: 0.3 to 2 s an answer", "label_studio", _some_seconds(0.3, 2), LONGER),
    _wrong("Label Studio: 502", "label_studio", _always(behaviours.status(502))),
    _wrong("Label Studio: 404 of a proxy", "label_studio", _always(behaviours.status(404))),
    _wrong("Label Studio: token refused", "label_studio", _always(behaviours.status(401))),
    _wrong("Label Studio: answers cut", "label_studio", _always(behaviours.cut)),
    _wrong("Label Studio: clock an hour ahead", "label_studio", _always(behaviours.clock(_HOUR)), LONGER),
    _wrong("Label Studio: clock an hour behind", "label_studio", _always(behaviours.clock(-_HOUR)), LONGER),
    _wrong("events: lost", "events", _always(behaviours.lose_events), LONGER),
    _wrong("events: doubled", "events", _always(behaviours.double), LONGER),
    Fault("events: late, in another order", "events", _late, LONGER),
    _gone("images: gone", "images"),
    _wrong("images: 503", "images", _always(behaviours.status(503))),
    _wrong("images: cut", "images", _always(behaviours.cut)),
    _wrong("images: take requests, do not answer", "images", _always(behaviours.hang)),
    _wrong("images: said to be 100 GB", "images", _always(behaviours.huge)),
    _wrong("images: without end", "images", _always(behaviours.endless)),
    _wrong("images: broken", "images", behaviours.broken),
    Fault("disk full", "disk", _fill, SHORT, needs_disk=True),
    Fault("memory short: training job", "job", _starve("job"), SHORT),
    Fault("memory short: predict", "predict", _starve("predict"), SHORT),
    Fault("memory short: train_trigger", "train_trigger", _starve("train_trigger"), SHORT),
)


def available(world: World) -> Sequence[Fault]:
    """Those that can be made here."""
    return [fault for fault in FAULTS if world.disk.own or not fault.needs_disk]
