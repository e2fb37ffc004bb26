"""The metrics of train_trigger, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from shared.state.effort import CountedEffort

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
"""Actions of Label Studio that are counted by name; all others are counted together as "other"."""


class Metrics:
    """Counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "labelloop_events", "Events of Label Studio, by action.", ["action"], registry=self.registry
        )
        self.events_left_to_sweep = Counter(
            "labelloop_events_left_to_sweep",
            "Events that nothing was done about, since those of too many projects were waiting.",
            registry=self.registry,
        )
        self.reconciles = Counter(
            "labelloop_reconciles", "Projects looked at, by what came of it.", ["outcome"], registry=self.registry
        )
        self.launches = Counter(
            "labelloop_launches", "Attempts handed to the launcher, by result.", ["result"], registry=self.registry
        )
        self.runs_failed = Counter(
            "labelloop_runs_failed", "Runs given up after their last attempt.", registry=self.registry
        )
        self.failing = Gauge(
            "labelloop_projects_failing",
            "Projects whose newest training, or newest job that writes predictions ahead, failed: as the last sweep of "
            "this process has read them.",
            registry=self.registry,
        )
        self.failures = Counter(
            "labelloop_failures", "Tasks that were answered empty, by reason.", ["reason"], registry=self.registry
        )
        self.annotated = Gauge(
            "labelloop_annotated_objects",
            "Objects that were annotated on predictions of the version before, as the newest run that published one "
            "has read them, by what became of them: kept, changed, drawn, smart.",
            ["project", "control", "became"],
            registry=self.registry,
        )
        self.saved = Gauge(
            "labelloop_saved_share",
            "Part of the work of drawing by hand that predictions of this version saved, the newest one that somebody "
            "annotated on, as `labelloop effort` has counted it last; below zero, correcting was more work.",
            ["project", "control", "version"],
            registry=self.registry,
        )
        self.saved_counted = Gauge(
            "labelloop_saved_counted_timestamp_seconds",
            "When `labelloop effort` has counted that, in seconds since 1970.",
            ["project"],
            registry=self.registry,
        )
        self.notices = Counter(
            "labelloop_notices",
            "Notices posted to LABELLOOP_NOTIFY_URL, by result.",
            ["result"],
            registry=self.registry,
        )
        self.waiting = Gauge("labelloop_waiting", "Requests that wait for predict now.", registry=self.registry)
        self.warm_ups = Counter(
            "labelloop_warm_ups", "Times that predict was woken ahead, by result.", ["result"], registry=self.registry
        )
        self._saved_version: dict[tuple[str, str], str] = {}  # (project, control) → version that is told

        for result in ("launched", "relaunched", "refused"):  # else the first one would be no increase
            self.launches.labels(result)
        for result in ("sent", "failed", "dropped"):
            self.notices.labels(result)

    def event(self, action: str) -> None:
        """Count one event of Label Studio."""
        self.events.labels(action if action in ACTIONS else "other").inc()

    def effort(self, uid: str, counted: CountedEffort) -> None:
        """Tell of each control's newest version what its predictions saved."""
        for control in {one.control for one in counted.versions}:
            newest = counted.newest(control)
            told = self._saved_version.get((uid, control))
            if told and (newest is None or newest.version != told):
                self.saved.remove(uid, control, told)
                del self._saved_version[uid, control]
            if newest and newest.saved is not None:
                self.saved.labels(uid, control, newest.version).set(newest.saved)
                self._saved_version[uid, control] = newest.version
        self.saved_counted.labels(uid).set(counted.counted_at.timestamp())

    def text(self) -> bytes:
        """All metrics in Prometheus' text format, as GET /metrics answers them."""
        return generate_latest(self.registry)
