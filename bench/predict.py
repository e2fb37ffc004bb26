"""Speed of functions/predict, compared with the bare model in the same run: `python -m bench.predict --json FILE`."""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from bench.predict_parts import (
    BareModel,
    image_server,
    photographs,
    predict_body,
    predict_function,
    setup_body,
    write_json,
)
from infra.demo.samples import base_weights

_TASKS = 32
_DELAY_MS = 50  # of the image server
_BATCHES = (1, 4, 8, 16)
_PACE = 0.03  # seconds between two requests
_IDLE_SECONDS = 10.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="a detection model; default: the sample weights")
    parser.add_argument("--pairs", type=int, default=7, help="alternating pairs of function and bare model")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for the bare model too: spinning threads would slow it down
    weights = (options.weights or base_weights()).resolve()
    files = photographs(_TASKS)
    with tempfile.TemporaryDirectory() as scratch, image_server(files) as images:
        report: dict[str, Any] = {
            "start": _starts(Path(scratch), weights),
            "light routes": _light_routes(Path(scratch), weights),
        }
        with predict_function(Path(scratch), weights) as url:
            bare = BareModel(weights)
            report["32 tasks"] = _many(url, images, bare, files, options.pairs)
            report["one task"] = _one(url, images, bare, files)
    _print(report)
    if options.json:
        write_json(options.json, report)


def _starts(scratch: Path, weights: Path) -> dict[str, float]:
    """Seconds from starting the process to its first answer."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        with predict_function(scratch, weights):
            seconds.append(time.perf_counter() - started)
    return {"to first /health, median s": statistics.median(seconds), "target s": 1.5}


def _light_routes(scratch: Path, weights: Path) -> dict[str, float]:
    """Milliseconds of /health and /setup, while torch is imported and the model loaded, and afterwards.

    Requests are sent at a fixed pace without waiting for answers, so that a pause of the server delays each of them.
    """
    report = {}
    with predict_function(scratch, weights) as url, ThreadPoolExecutor(64) as clients:
        _timed(requests.post, f"{url}/setup", setup_body())  # starts loading
        loaded = clients.submit(_predict, url, predict_body([]))
        while_loading = _ask_light_routes(url, clients, loaded.done)
        until = time.perf_counter() + _IDLE_SECONDS
        idle = _ask_light_routes(url, clients, lambda: time.perf_counter() > until)
    for state, times in (("while loading", while_loading), ("idle", idle)):
        for route, asked in times.items():
            report[f"{route} {state}, p99 ms"] = _percentile(asked, 99) * 1000
            report[f"{route} {state}, longest ms"] = max(asked) * 1000
        report[f"requests {state}"] = sum(map(len, times.values()))
    return report | {"target p99 ms while loading": 250, "target p99 ms idle": 50}


def _ask_light_routes(url: str, clients: Executor, ended: Callable[[], bool]) -> dict[str, list[float]]:
    asked: dict[str, list[Future[float]]] = {"/health": [], "/setup": []}
    while not ended():
        asked["/health"].append(clients.submit(_timed, requests.get, f"{url}/health", None))
        asked["/setup"].append(clients.submit(_timed, requests.post, f"{url}/setup", setup_body()))
        time.sleep(_PACE)
    return {route: [one.result() for one in times] for route, times in asked.items()}


def _timed(method: Callable[..., requests.Response], url: str, body: dict[str, Any] | None) -> float:
    started = time.perf_counter()
    method(url, json=body, timeout=30).raise_for_status()
    return time.perf_counter() - started


def _many(url: str, images: str, bare: BareModel, files: list[bytes], pairs: int) -> dict[str, float]:
    """32 tasks with slow images, compared with the bare model on the same files in memory."""
    body = predict_body([f"{images}/{_DELAY_MS}/{number}.jpg" for number in range(len(files))])
    _predict(url, body)
    best = min(_BATCHES, key=lambda batch: min(bare.run(files, batch) for _ in range(2)))
    ours, yardstick = [], []
    for _ in range(pairs):
        ours.append(_predict(url, body))
        yardstick.append(bare.run(files, best))
    ratios = [mine / other for mine, other in zip(ours, yardstick, strict=True)]
    return {
        "function, median s": statistics.median(ours),
        "bare model, median s": statistics.median(yardstick),
        "bare model, best batch": best,
        "ratio, median of pairs": statistics.median(ratios),
        "target ratio": 1.15,
    }


def _one(url: str, images: str, bare: BareModel, files: list[bytes]) -> dict[str, float]:
    """One task with a fast image: the time on top of decoding and the model's own."""
    overheads, totals = [], []
    for number in range(30):
        index = number % len(files)
        total = _predict(url, predict_body([f"{images}/0/{index}.jpg"]))
        decoding, model = bare.own_time(files[index])
        totals.append(total)
        overheads.append(total - decoding - model)
    return {
        "function, median ms": statistics.median(totals) * 1000,
        "overhead, median ms": statistics.median(overheads) * 1000,
        "target overhead ms": 15,
    }


def _predict(url: str, body: dict[str, Any]) -> float:
    started = time.perf_counter()
    response = requests.post(f"{url}/predict", json=body, timeout=120)
    seconds = time.perf_counter() - started
    response.raise_for_status()
    if not all(response.json()["results"]):
        raise SystemExit("a task was not predicted: the function's log says why")
    return seconds


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def _print(report: dict[str, Any]) -> None:
    for section, figures in report.items():
        print(section)
        for name, value in figures.items():
            print(f"  {name:<40} {value:8.2f}")


if __name__ == "__main__":
    main()
