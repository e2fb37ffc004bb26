"""The figures of one simulation, by section. All but "this machine" depend on the plan only."""

from array import array
from typing import Any

from bench.scale.simulation import Simulation

GET_PRICE, PUT_PRICE = 0.0004 / 1000, 0.005 / 1000  # USD; S3 Standard, us-east-1: GET and HEAD; PUT and LIST
_DAY = 86_400


def figures(simulation: Simulation, cpu: float) -> dict[str, Any]:
    """Section → name → figure; times in seconds unless the name says ms. `cpu`: seconds of CPU."""
    load, gpus, checks, marked = simulation.load, simulation.gpus, simulation.checks, simulation.load.marked
    plan, seconds = simulation.plan, simulation.plan.seconds
    requests, asked = marked["store"], marked["label studio"]
    reads, writes = requests["GET"] + requests["HEAD"], requests["PUT"] + requests["LIST"] + requests["DELETE"]
    busiest_key = max(simulation.bucket.writes_of.values(), default=0)
    full_sweeps = [sweep for sweep in load.sweeps if sweep["projects"]]
    return {
        "webhook": {
            "events": marked["sent"],
            "events lost on the way": load.counts["events lost on the way"],
            "events without answer (instance killed)": load.sent - len(load.latencies),
            "p50 ms": 1000 * quantile(load.latencies, 0.5),
            "p90 ms": 1000 * quantile(load.latencies, 0.9),
            "p99 ms": 1000 * quantile(load.latencies, 0.99),
            "longest ms": 1000 * quantile(load.latencies, 1),
            "answered after 1 s": load.counts["events answered after Label Studio gave up"],
            **{f"answered {answer}": count for answer, count in sorted(load.answers.items())},
            "left to the sweep": marked["left to the sweep"],
            "core of an instance busy %": 100 * marked["cpu"] / (seconds * plan.instances),
        },
        "store": {
            "requests a second": sum(requests.values()) / seconds,
            "requests an event": sum(requests.values()) / marked["sent"],
            "GET a second": requests["GET"] / seconds,
            "PUT a second": requests["PUT"] / seconds,
            "LIST a second": requests["LIST"] / seconds,
            "reads in the busiest second": simulation.bucket.busiest["reads"],
            "writes in the busiest second": simulation.bucket.busiest["writes"],
            "writes of the busiest key": busiest_key,
            "writes of the busiest key a minute": 60 * busiest_key / simulation.clock.now,
            **{f"answers {status or 'lost'}": count for status, count in sorted(simulation.bucket.answers.items())},
            "USD a day": _DAY / seconds * (reads * GET_PRICE + writes * PUT_PRICE),
        },
        "Label Studio": {
            "requests a second": sum(asked.values()) / seconds,
            "requests an event": sum(asked.values()) / marked["sent"],
            "requests a second of exports": asked["export"] / seconds,
            "most waiting at once": marked["waiting"],
            "slowest answer": simulation.label_studio.slowest,
            "failed": simulation.label_studio.failed,
        },
        "runs": {
            "started": len(checks.to_launch) + len(checks.swept_to_launch),
            **{f"ended {outcome}": count for outcome, count in sorted(checks.ended_runs.items())},
            **dict(sorted(gpus.counts.items())),
            "started without need": checks.without_need,
            "due to launched p50": quantile(checks.to_launch, 0.5),
            "due to launched p99": quantile(checks.to_launch, 0.99),
            "due to launched, longest": quantile(checks.to_launch, 1),
            "due to launched without events p50": quantile(checks.swept_to_launch, 0.5),
            "due to launched without events, longest": quantile(checks.swept_to_launch, 1),
            "due to first act on a GPU p50": quantile(checks.to_start, 0.5),
            "due to first act on a GPU p99": quantile(checks.to_start, 0.99),
            "GPUs busy %": 100 * marked["gpu"] / (seconds * plan.gpus),
            "longest queue for a GPU": gpus.longest_queue,
        },
        "sweep": {
            "sweeps": len(full_sweeps),
            "seconds p50": quantile([sweep["seconds"] for sweep in full_sweeps], 0.5),
            "longest seconds": quantile([sweep["seconds"] for sweep in full_sweeps], 1),
            "projects not reached p50": quantile([sweep["not_reached"] for sweep in full_sweeps], 0.5),
            "projects not reached, most": quantile([sweep["not_reached"] for sweep in full_sweeps], 1),
        },
        "must be zero": {name: checks.broken[name] for name in MUST_BE_ZERO},
        "simulation": {
            "played": simulation.clock.now,
            "instances killed": load.counts["instances killed"],
        },
        "this machine": {"seconds of CPU": cpu},
    }


MUST_BE_ZERO = (
    "two jobs of a project at once",
    "runs that promoted twice",
    "pointers that went back",
    "promotions under an old fence",
    "fences that went back",
    "runs that never ended",
    "projects whose training was due and not started",
)


def quantile(values: "array[float] | list[float]", part: float) -> float:
    """The value below which `part` (0–1) of the values lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0
