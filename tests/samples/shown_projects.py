"""Projects as weeks of work leave them in a store, for the page and its pictures: every record is a real one."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import claims, keys, launches
from shared.state.base_weights import BaseWeights
from shared.state.effort import CountedEffort, VersionEffort, write_effort
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord, LastRun, Prelabelled
from shared.state.notes import write_note
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.state.runs import Baseline, Progress, Totals
from shared.state.versions import GRAPH, WEIGHTS, FileEntry, Gate, Manifest
from shared.yolo_task import YoloTask
from tests.fakes.stores import Clocked
from tests.samples.suspects_made import suspect, with_suspects

TREES, AIRSHIPS, EMPTY = "7.1790000000", "8.1791000000", "9.1792000000"
TREES_CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="Tree"/><Label value="Dead tree"/><Label value="Shrub"/></RectangleLabels></View>"""
AIRSHIPS_CONFIG = """<View><Image name="image" value="$image"/><TextArea name="remark" toName="image"/>
<PolygonLabels name="outline" toName="image"><Label value="Airship"/></PolygonLabels>
<Choices name="weather" toName="image"><Choice value="Clear"/><Choice value="Cloudy"/></Choices></View>"""
_REPORT = b"<!doctype html><title>label</title><style>h1 { color: #116b3b }</style><h1>label: a new version</h1>"
_SUSPECTS = (
    suspect(
        1204,
        "swapped",
        label="Tree",
        box=(61.0, 12.5, 9.0, 11.0),
        found="Dead tree",
        found_box=(60.5, 12.0, 9.5, 11.5),
        confidence=0.64,
        reason="Tree is annotated here, and the model finds Dead tree",
    ),
    suspect(1187, found_box=(12.0, 70.0, 14.0, 13.0), confidence=0.71),
    suspect(
        1310,
        "spurious",
        label="Shrub",
        box=(88.0, 3.0, 5.0, 5.0),
        found="",
        found_box=None,
        confidence=None,
        reason="Shrub is annotated here, and the model finds nothing that is like it",
    ),
)
# annotated tasks, mAP50-95, champion, probability that it is worse, passed
_HISTORY = (
    (10, 0.142, 0.061, 0.02, True),
    (20, 0.236, 0.151, 0.01, True),
    (40, 0.281, 0.240, 0.09, True),
    (80, 0.334, 0.278, 0.02, True),
    (88, 0.318, 0.331, 0.71, False),
    (97, 0.352, 0.336, 0.16, True),
    (107, 0.347, 0.349, 0.55, False),
    (118, 0.371, 0.348, 0.12, True),
    (130, 0.389, 0.370, 0.14, True),
    (143, 0.402, 0.386, 0.19, True),
)
_WHY = {
    True: "mAP50-95 {value:.3f} against {champion:.3f} of {against} on the same {tasks} tasks: {sure:.0%} sure that it "
    "is no worse",
    False: "mAP50-95 {value:.3f} is not above {champion:.3f} of {against} on the same {tasks} tasks",
}


def fill(store: ObjectStore, now: datetime | None = None) -> None:
    """Three projects: one that is training now, one that is disconnected, one without anything."""
    now = now or datetime.now(UTC)
    for name, task, classes in (
        ("yolo11n.pt", "detect", ("person", "Tree")),
        ("yolo11n-seg.pt", "segment", ("person",)),
    ):
        record = BaseWeights(name=name, yolo_task=task, names=classes, files=())  # type: ignore[arg-type]
        store.create(keys.base_weights(name), record.to_json())
    _trees(store, now)
    _airships(store, now)
    write_project(store, EMPTY, label_config=TREES_CONFIG, title="Herd counts, spring")


def add_base(store: ObjectStore, name: str, yolo_task: YoloTask) -> None:
    """The record of base weights that know a person and a tree."""
    record = BaseWeights(name=name, yolo_task=yolo_task, names=("person", "Tree"), files=())
    store.create(keys.base_weights(name), record.to_json())


def publish(
    store: ObjectStore, uid: str, control: str, manifest: Manifest, *, promote: bool = True, report: bytes = b""
) -> None:
    """One version, served if the gate lets it pass."""
    registry = Registry(Clocked(store, manifest.created_at), uid)
    if report:
        digest = sha256(report).hexdigest()
        store.put(keys.file(uid, control, digest, "report.html"), report)
        entry = FileEntry(name="report.html", sha256=digest, size=len(report))
        manifest = evolve(manifest, files=(*manifest.files, entry))
    store.create(keys.manifest(uid, control, manifest.version), manifest.to_json())
    if promote and manifest.gate.passed:
        before = registry.pointer(control)
        registry.promote(
            control,
            manifest.version,
            fence=manifest.fence,
            run_id=manifest.run_id,
            expected=before.version if before else None,
        )


def manifest(
    version: int,
    made_at: datetime,
    *,
    control: str = "label",
    yolo_task: YoloTask = "detect",
    labels: tuple[str, ...] = ("Tree", "Dead tree", "Shrub"),
    tasks: int = 100,
    value: float = 0.4,
    champion: float | None = None,
    against: str | None = None,
    worse: float | None = None,
    passed: bool = True,
    reason: str = "the first version",
    metric: str = "mAP50-95",
    remarks: str = "",
) -> Manifest:
    """One manifest."""
    val = max(tasks // 5, 4)
    return Manifest(
        version=version,
        control=control,
        yolo_task=yolo_task,
        labels=labels,
        files=tuple(FileEntry(name=name, sha256=f"{version:064x}", size=5_400_000) for name in (WEIGHTS, GRAPH)),
        metrics={metric: value, "mAP50": min(value * 1.7, 1.0), "precision": 0.71, "recall": 0.64, "saved": 0.43}
        if metric == "mAP50-95"
        else {metric: value, "top1": value + 0.03},
        gate=Gate(
            metric=metric,
            challenger=value,
            champion=champion,
            champion_version=_served_then(against or f"v{version - 1}"),
            against=against,
            worse=worse,
            tasks=val,
            things=val * 9,
            passed=passed,
            reason=reason,
        ),
        lineage={
            "tasks": {"train": tasks - val, "val": val, "left_out": {}},
            "remarks": remarks,
            "seconds": 240 + 4 * tasks,
            "price_per_hour": "0.80 EUR",
        },
        run_id=f"20261101-0900{version:02d}-0a1b2c3d",
        fence=1000 * version,
        created_at=made_at,
    )


def _served_then(against: str) -> int | None:
    return int(against[1:]) if against[1:].isdecimal() and against != "v0" else None


def _trees(store: ObjectStore, now: datetime) -> None:
    write_project(store, TREES, label_config=TREES_CONFIG, title="Trees of Yellowstone", push=True)
    served = "base-yolo11n"
    for number, (tasks, value, champion, worse, passed) in enumerate(_HISTORY, 1):
        told = _WHY[passed].format(value=value, champion=champion, against=served, tasks=tasks // 5, sure=1 - worse)
        left = "3 of 143 tasks were left out (2 broken, 1 not_found), the first is task 1481: the file is cut off"
        made = manifest(
            number,
            now - timedelta(days=21 - 2 * number, hours=number),
            tasks=tasks,
            value=value,
            champion=champion,
            against=served,
            worse=worse,
            passed=passed,
            reason=told,
            remarks=left if number == len(_HISTORY) else "",
        )
        if number == len(_HISTORY):
            taken_up = {"version": "v9", "annotations": 13, "kept": 71, "changed": 24, "drawn": 22}
            made = evolve(made, lineage=made.lineage | {"taken_up": taken_up})
            made = with_suspects(store, TREES, made, *_SUSPECTS)
        publish(store, TREES, "label", made, report=_REPORT)
        served = f"v{number}" if passed else served
    write_note(store, TREES, "label", 8, "with the pictures after the storm", known=range(1, 11))
    edits = {"kept": 71, "moved": 17, "relabelled": 7, "deleted": 5, "added": 22, "final": 117}
    saved = VersionEffort(version="v9", control="label", images=13, saved=0.71, **edits)
    write_effort(
        store, TREES, CountedEffort(counted_at=now - timedelta(hours=2), tasks=143, saved=0.44, versions=(saved,))
    )
    jobs = Jobs(store, TREES)
    fence = Registry(store, TREES).fence()
    claim = jobs.update(claims.take, "20261127-081502-5d0e9f3a", lifetime=600, registry_fence=fence).held
    jobs.update(launches.record_job, claim, "local:4711", logs="/srv/labelloop/logs/20261127-081502-5d0e9f3a.1.log")
    jobs.update(claims.start, claim.run_id, nonce="nonce", lifetime=600)

    def older(record: JobsRecord, _now: datetime) -> JobsRecord:
        running = evolve(record.held, started_at=now - timedelta(minutes=7))
        done = Prelabelled(model_version="label:v10", through=900, written_at=now - timedelta(hours=5), left=2)
        labels = {"label": {"Tree": 131, "Dead tree": 22, "Shrub": 9}}
        read = Baseline(totals=Totals(), read_at=now - timedelta(hours=34), labels=labels)
        return evolve(record, training=running, prelabelled=done, baseline=read, used={f"{now:%Y-%m-%d}": 1260.0})

    jobs.update(older)
    progress = Progress(
        phase="train",
        attempt=1,
        updated_at=now,
        control="label",
        epoch=18,
        epochs=50,
        eta_seconds=760.0,
        metrics={"mAP50": 0.671},
        val_tasks=31,
        val_things=287,
    )
    jobs.runs.write_progress(claim.run_id, progress)


def _airships(store: ObjectStore, now: datetime) -> None:
    write_project(store, AIRSHIPS, label_config=AIRSHIPS_CONFIG, title="Airships over the bay", connection="none")
    outline = manifest(
        1, now - timedelta(days=40), control="outline", yolo_task="segment", labels=("Airship",), value=0.61
    )
    weather = manifest(
        1,
        now - timedelta(days=40),
        control="weather",
        yolo_task="classify",
        labels=("Clear", "Cloudy"),
        value=0.83,
        metric="balanced accuracy",
    )
    for each in (outline, weather):
        publish(store, AIRSHIPS, each.control, each)

    def failed(record: JobsRecord, _now: datetime) -> JobsRecord:
        last = LastRun(
            run_id="20261124-161000-77aa31c9",
            outcome="failed",
            ended_at=now - timedelta(days=3),
            message="20 of 39 images are gone: bucket airships-raw answered 403",
            failures=2,
        )
        return evolve(record, last_run=last, fence=3000)

    Jobs(store, AIRSHIPS).update(failed)
