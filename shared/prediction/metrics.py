"""Metrics of predict, for Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

from flask import Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from shared.prediction.process_end import processes_ended

Phase = Literal["fetch", "decode", "model", "convert", "request", "smart"]
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0)


class Metrics:
    """All metrics of one process. Thread-safe, as prometheus_client is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._predictions = Counter(
            "labelloop_predictions", "Tasks that were answered with a prediction.", registry=self.registry
        )
        self._failures = Counter(
            "labelloop_failures", "Tasks that were answered empty, by reason.", ["reason"], registry=self.registry
        )
        self._smart = Counter(
            "labelloop_smart",
            "Clicks and boxes of smart tools: found, as_drawn, nothing (there), later (it took too long), failed.",
            ["outcome"],
            registry=self.registry,
        )
        self._left_out = Counter(
            "labelloop_controls_left_out",
            "Tasks that were answered without some of their controls, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._phases = Histogram(
            "labelloop_phase_seconds",
            "Time of a phase: a task's fetch, decode, model (waiting for it, too) and convert; the whole request; of a "
            "smart tool: smart.",
            ["phase"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._serving = Gauge(
            "labelloop_model_version",
            "1 for the version that each control is served with.",
            ["project", "control", "version"],
            registry=self.registry,
        )
        self._swaps = Counter(
            "labelloop_model_swaps", "Times that a control went on with another version.", registry=self.registry
        )
        self._rejected = Counter("labelloop_versions_rejected", "Versions whose file is bad.", registry=self.registry)
        self._failed_loads = Counter(
            "labelloop_failed_loads",
            "Loads of a model that failed; they are retried after a growing pause.",
            registry=self.registry,
        )
        Gauge(
            "labelloop_processes_ended",
            "Processes that ended themselves to be replaced, since their GPU could not be used any more.",
            registry=self.registry,
        ).set_function(processes_ended)

    def predicted(self, tasks: int) -> None:
        """Count tasks that were answered with a prediction."""
        self._predictions.inc(tasks)

    def failed(self, reason: str, tasks: int = 1) -> None:
        """Count tasks that were answered empty. `reason` is one word from a fixed set."""
        self._failures.labels(reason).inc(tasks)

    def drew(self, outcome: str) -> None:
        """Count a click or a box of a smart tool. `outcome` is one word from a fixed set."""
        self._smart.labels(outcome).inc()

    def reasons(self) -> dict[str, int]:
        """Reason → tasks that were answered empty so far."""
        samples = (sample for metric in self._failures.collect() for sample in metric.samples)
        return {one.labels["reason"]: int(one.value) for one in samples if one.name.endswith("_total") and one.value}

    def left_out(self, reason: str, tasks: int) -> None:
        """Count tasks that were answered without the controls whose image can never be fetched or decoded."""
        self._left_out.labels(reason).inc(tasks)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Measure the time of the `with` block as the time of a phase."""
        started = perf_counter()
        try:
            yield
        finally:
            self.observe(name, perf_counter() - started)

    def observe(self, name: Phase, seconds: float) -> None:
        """Record the time of a phase."""
        self._phases.labels(name).observe(seconds)

    def swapped(self, project: str, control: str, before: str | None, after: str) -> None:
        """Record that a control is served with another version from now on. `before` is None for its first."""
        if before is not None:
            self._swaps.inc()
            self._serving.remove(project, control, before)
        self._serving.labels(project, control, after).set(1)

    def version_rejected(self) -> None:
        """Count a version whose file is bad."""
        self._rejected.inc()

    def load_failed(self) -> None:
        """Count a failed load of a model."""
        self._failed_loads.inc()

    def answer(self, _request: Request) -> Response:
        """`GET /metrics`: all metrics in Prometheus' text format."""
        return Response(generate_latest(self.registry), content_type=CONTENT_TYPE_LATEST)
