"""What functions/predict reaches, beside yardsticks that run in turns with it: `python -m bench.predict --json FILE`.

A detection model of YOLOv8s's size, photographs of 1280×720 pixels, a file:// store, everything on one machine.
"""

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import convert, smart, video
from bench.predict_parts import (
    Function,
    ask,
    image_server,
    photographs,
    predict_function,
    publish,
    wait_for,
    write_json,
)
from bench.sample_model import make_model
from bench.table import Row, as_json, show
from bench.yardsticks import Yardstick, floor, ultralytics, yardstick
from shared.objectstore import ObjectStore, open_store

_TASKS, _CLIENTS, _MANY_CLIENTS = 32, 8, 24
_SWAPPING_CLIENTS = 2
_PACE = 0.03  # seconds between two requests of /health
_LATE = 1.0  # seconds
_EMPTY = "def empty(request):\n    return 'ok'\n"


class World(NamedTuple):
    """What the measures share."""

    folder: Path
    images: str  # address of the image server
    files: list[bytes]
    graph: Path
    store: ObjectStore
    rounds: int

    def urls(self, delay: int) -> list[str]:
        """Of all photographs, which come after so many milliseconds."""
        return [f"{self.images}/{delay}/{number}.jpg" for number in range(len(self.files))]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="each of predict and its yardsticks in turn")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    files = photographs(_TASKS)
    with tempfile.TemporaryDirectory() as scratch, image_server(files) as images:
        folder = Path(scratch)
        model = make_model(folder, files[:4])
        store = open_store((folder / "store").as_uri())
        publish(store, model.graph)
        world = World(folder, images, files, model.graph, store, options.rounds)
        rows = list(_starts(world))
        with (
            predict_function(folder) as function,
            yardstick(floor, model.graph, files) as bare,
            yardstick(ultralytics, model.weights, files) as theirs,
        ):
            wait_for(function.port, "/health")
            time.sleep(3.0)  # it imports what predicts
            idle = function.memory()
            function.predict(world.urls(0))
            rows += [
                *_many(world, function, bare, theirs),
                *_clients(world, function, bare),
                _one(world, function, bare),
            ]
            rows += smart.clicks(function, world.urls(0))
            rows += [*_swap(world, function), _health(world, function)]
            rows += [
                _memory("memory idle", idle, 130.0),
                _memory("memory after all of these", function.memory(), 450.0),
            ]
        rows += smart.rows(world.urls(0), files, "segment")
        rows += [*convert.rows(), *video.rows(model.weights, options.rounds)]
    show(rows)
    if options.json:
        write_json(options.json, as_json(rows))


def _starts(world: World) -> Iterator[Row]:
    """From the start of the process. The yardstick is functions-framework with an empty function."""
    source = world.folder / "empty.py"
    source.write_text(_EMPTY)
    empty: list[float] = []
    health: list[float] = []
    cached: list[float] = []
    fresh: list[float] = []
    for _ in range(world.rounds):
        started = time.perf_counter()
        function = Function(source, "empty", world.folder / "empty.log")
        wait_for(function.port, "/")
        empty.append(time.perf_counter() - started)
        function.stop()
        for first in (fresh, cached):  # the second finds what the first compiled
            if first is fresh:
                shutil.rmtree(world.folder / "cache", ignore_errors=True)
            started = time.perf_counter()
            with predict_function(world.folder) as function:
                wait_for(function.port, "/health")
                health.append(time.perf_counter() - started)
                function.predict(world.urls(0)[:1])
                first.append(time.perf_counter() - started)
    beside = f"{statistics.median(empty):.2f} s, an empty function"
    for measure, times, goal in (
        ("start → /health", health, 0.7),
        ("start → first /predict, compiled model in the cache", cached, 1.3),
        ("start → first /predict, nothing in the cache", fresh, 2.0),
    ):
        seconds = statistics.median(times)
        yield Row(measure, f"{seconds:.2f} s", beside, seconds, "≤", goal, "s")


def _many(world: World, function: Function, bare: Yardstick, theirs: Yardstick) -> Iterator[Row]:
    """All photographs in one request."""
    urls = world.urls(50)
    ours, floors, others = _in_turns(
        world.rounds,
        lambda: function.predict(urls)[0],
        lambda: bare.seconds(world.files),
        lambda: theirs.seconds(world.files),
    )
    measure = f"{_TASKS} tasks in one request, images 50 ms away"
    yield _rate(measure, ours, floors, "the floor", 0.8)
    yield _rate(measure, ours, others, "ultralytics' predict()", 4.0)


def _clients(world: World, function: Function, bare: Yardstick) -> Iterator[Row]:
    """Clients with one task each, at once."""
    urls = world.urls(0)
    single: list[float] = []

    def ask_side_by_side() -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            single.extend(clients.map(lambda url: function.predict([url])[0], urls))
        return time.perf_counter() - started

    ours, floors, one = _in_turns(
        world.rounds, ask_side_by_side, lambda: bare.seconds(world.files), lambda: bare.seconds(world.files[:1])
    )
    yield _rate(f"{_CLIENTS} clients with one task each", ours, floors, "the floor", 0.8)
    p50, floor_one = statistics.median(single) * 1000, statistics.median(one) * 1000
    yield Row(
        f"{_CLIENTS} clients, p50",
        f"{p50:.0f} ms",
        f"{floor_one:.0f} ms, the floor for one",
        p50 / floor_one,
        "≤",
        8.5,
        "×",
    )


def _one(world: World, function: Function, bare: Yardstick) -> Row:
    """One task, again and again."""
    ours, floors = _in_turns(
        10 * world.rounds, lambda: function.predict(world.urls(0)[:1])[0], lambda: bare.seconds(world.files[:1])
    )
    mine, other = statistics.median(ours) * 1000, statistics.median(floors) * 1000
    more = statistics.median(one - two for one, two in zip(ours, floors, strict=True)) * 1000
    return Row(
        "one task, image at once, p50", f"{mine:.0f} ms", f"{other:.0f} ms, the floor", more, "≤", 8.0, "ms more"
    )


def _swap(world: World, function: Function) -> Iterator[Row]:
    """The pointer moves while clients predict."""
    wrong: list[str] = []
    seconds = []
    for _ in range(world.rounds):
        with _asking(world, function, _SWAPPING_CLIENTS, wrong) as stamps:
            wanted = f"label:v{publish(world.store, world.graph)}"
            started = time.perf_counter()
            while wanted not in stamps:
                assert time.perf_counter() < started + 60.0, "the new version is not served"
                time.sleep(0.01)
            seconds.append(time.perf_counter() - started)
    swapped = statistics.median(seconds)
    yield Row("pointer moved → new version served", f"{swapped:.2f} s", "", swapped, "≤", 5.0, "s")
    measure = f"meanwhile failed, or later than 1 s ({_SWAPPING_CLIENTS} clients)"
    yield Row(measure, ", ".join(sorted(set(wrong))) or "none", "", len(wrong), "≤", 0, "requests")


def _health(world: World, function: Function) -> Row:
    """Requests are sent at a fixed pace, without waiting for answers: a pause of the server delays each of them."""
    times: list[float] = []

    def ask_once() -> None:
        started = time.perf_counter()
        ask(function.port, "GET", "/health")
        times.append(time.perf_counter() - started)

    with _asking(world, function, _MANY_CLIENTS, []) as stamps, ThreadPoolExecutor(16) as askers:
        for _ in range(world.rounds):
            wanted = f"label:v{publish(world.store, world.graph)}"
            until = time.perf_counter() + 60.0
            while wanted not in stamps:
                assert time.perf_counter() < until, "the new version is not served"
                askers.submit(ask_once)
                time.sleep(_PACE)
    p99 = sorted(times)[len(times) * 99 // 100] * 1000
    measure = f"/health while models load and {_MANY_CLIENTS} clients predict, p99"
    return Row(measure, f"{p99:.0f} ms of {len(times)}", "", p99, "≤", 50.0, "ms")


@contextmanager
def _asking(world: World, function: Function, clients: int, wrong: list[str]) -> Iterator[set[str]]:
    """So many clients predict all the time; yields the versions that answered. What goes wrong is added to `wrong`."""
    stamps: set[str] = set()
    ended = threading.Event()
    urls = world.urls(0)

    def ask_on(number: int) -> None:
        while not ended.is_set():
            try:
                seconds, (result,) = function.predict([urls[number]])
                stamps.add(result["model_version"] if result else "answered []")
            except (AssertionError, OSError) as error:
                wrong.append(type(error).__name__)
            else:
                wrong.extend(["[]"] if not result else ["late"] if seconds > _LATE else [])

    with ThreadPoolExecutor(clients) as threads:
        for number in range(clients):
            threads.submit(ask_on, number)
        try:
            yield stamps
        finally:
            ended.set()


def _memory(measure: str, megabytes: float, goal: float) -> Row:
    return Row(measure, f"{megabytes:.0f} MB", "", megabytes, "≤", goal, "MB")


def _rate(measure: str, ours: list[float], others: list[float], name: str, goal: float) -> Row:
    """Of seconds for all photographs."""
    mine, other = _TASKS / statistics.median(ours), _TASKS / statistics.median(others)
    ratio = statistics.median(two / one for one, two in zip(ours, others, strict=True))
    return Row(measure, f"{mine:.1f} tasks/s", f"{other:.1f} tasks/s, {name}", ratio, "≥", goal, "×")


def _in_turns(rounds: int, *actions: Callable[[], float]) -> list[list[float]]:
    """What each action returns, round by round."""
    found = [[action() for action in actions] for _ in range(rounds)]
    return [list(times) for times in zip(*found, strict=True)]


if __name__ == "__main__":
    main()
