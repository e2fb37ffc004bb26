"""What train_trigger counts, in Prometheus' format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

ACTIONS = frozenset(
    {
        "START_TRAINING",
        "TASKS_CREATED",
        "TASKS_DELETED",
        "ANNOTATION_CREATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_DELETED",
        "PROJECT_CREATED",
        "PROJECT_UPDATED",
        "PROJECT_DELETED",
    }
)
"""Actions that get a label of their own; what else somebody sends is counted together."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 90.0)


class Metrics:
    """Counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.events = Counter(
            "labelloop_events", "Events of Label Studio, by action.", ["action"], registry=self._registry
        )
        self.events_left_to_sweep = Counter(
            "labelloop_events_left_to_sweep",
            "Events that nothing was done about, since those of too many projects were waiting.",
            registry=self._registry,
        )
        self.reconciles = Counter(
            "labelloop_reconciles", "Projects looked at, by what came of it.", ["outcome"], registry=self._registry
        )
        self.launches = Counter(
            "labelloop_launches", "Attempts handed to the launcher, by result.", ["result"], registry=self._registry
        )
        self.runs_failed = Counter(
            "labelloop_runs_failed", "Runs given up after their last attempt.", registry=self._registry
        )
        self.failures = Counter(
            "labelloop_failures", "Tasks that were answered empty, by reason.", ["reason"], registry=self._registry
        )
        self.waiting = Gauge("labelloop_waiting", "Requests that wait for predict now.", registry=self._registry)
        self.warm_ups = Counter(
            "labelloop_warm_ups", "Times that predict was woken ahead, by result.", ["result"], registry=self._registry
        )
        self._answers = Histogram(
            "labelloop_answer_seconds",
            "Time to an answer, by route and status.",
            ["path", "status"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def event(self, action: str) -> None:
        """Count one event."""
        self.events.labels(action if action in ACTIONS else "other").inc()

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._answers.labels(path, str(status)).observe(seconds)

    def text(self) -> bytes:
        """All of it, as GET /metrics answers it."""
        return generate_latest(self._registry)
