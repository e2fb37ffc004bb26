"""One trace from Label Studio's event to the first prediction of the version, through a real collector."""

import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug.test import EnvironBuilder

from functions.train_trigger.routes import Routes
from functions.train_trigger.threads import ProcessThreads
from functions.train_trigger.warm_up import WarmUp
from shared import tracing
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest
from shared.media.decode import decode_for
from shared.media.fit import Side, Sized
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.one_task import TaskRunner
from shared.prediction.plan import Found
from shared.prediction.ports import Served
from shared.prediction.predictor import Predictor
from shared.prediction.serving import serve_version
from shared.settings import Settings
from shared.state.registry import Registry
from tests.fakes import train_parts, train_world, trigger_parts
from tests.fakes.predict_parts import FAR, FakeModel, jpeg
from tests.servers.otel_collector import otel_collector
from tests.servers.web_server import Handler, web_server

UID = train_parts.UID
needs_otel = pytest.mark.usefixtures("exporter")


@pytest.fixture
def exporter() -> None:
    reason = "OpenTelemetry's exporter is not installed (make install-dev)"
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason=reason)


@pytest.fixture(autouse=True)
def off_afterwards() -> Iterator[None]:
    yield
    tracing.flush()
    tracing.configure("", None)


class Program:
    """train_trigger, the job and predict, one after the other, as three programs are configured."""

    def __init__(self, folder: Path, endpoint: str | None) -> None:
        self.endpoint = endpoint
        self.world = trigger_parts.World(folder / "store", epochs=4, val_fraction=0.4)
        self.world.label_studio.annotations = 39
        self.world.label_studio.label_config = train_parts.CONFIG
        self.job = train_world.World(self.world.store, folder)

    def event(self) -> None:
        tracing.configure("train-trigger", self.endpoint)
        world = self.world
        warm_up = WarmUp(world.settings, world.store, world.metrics)
        routes = Routes(world.store, world.trigger, warm_up, world.metrics, ProcessThreads(), debounce=60, patience=60)
        project = {"id": 1, "created_at": trigger_parts.CREATED.isoformat()}
        sent = EnvironBuilder("/webhook", method="POST", json={"action": "ANNOTATION_CREATED", "project": project})
        assert routes.webhook(flask.Request(sent.get_environ())).get_json()["status"] == "launched"
        tracing.flush()

    def train(self) -> None:
        tracing.configure("train", self.endpoint)
        assert self.job.run(self.world.claim) == 0
        tracing.flush()

    def predict(self, times: int = 1) -> None:
        tracing.configure("predict", self.endpoint)
        predictor = Predictor(
            _Newest(Registry(self.world.store, UID)), TaskRunner(_images(), _NoVideos(), Metrics()), Metrics(),
            lambda *_: Settings(), threads=1,
        )  # fmt: skip
        tasks = [{"id": 1, "data": {"image": "x"}}]
        call = {"tasks": tasks, "project": UID, "label_config": train_parts.CONFIG}
        for _ in range(times):
            (answer,) = predictor.predict(PredictRequest.model_validate(call), FAR)
            assert isinstance(answer, dict)
            assert answer["model_version"] == "label:v1"
        tracing.flush()


class _Newest:
    """Models: what the pointer names."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        manifest = self._registry.serving(control.name)
        assert manifest is not None
        return serve_version(control, manifest, lambda: FakeModel(names=manifest.labels))


class _Images:
    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        return jpeg()


class _NoVideos:
    def regions(self, *_: Any, **__: Any) -> Found:
        raise AssertionError("there are none")


def _decode(data: bytes, side: Side) -> Sized:
    return decode_for(data, 10**6, side)


def _images() -> TaskImages:
    return TaskImages(_Images(), _decode, Metrics(), fetch_concurrency=1, decode_concurrency=1, pixels=10**6)


@needs_otel
def test_one_trace_from_the_event_to_the_first_prediction(tmp_path: Path) -> None:
    with otel_collector(tmp_path) as collector:
        program = Program(tmp_path, collector.endpoint)
        program.event()
        program.train()
        program.predict(times=3)
        chain = ("webhook", "reconcile", "claim", "job", "publish", "first prediction")
        spans = [collector.named(name) for name in chain]
    assert [span.parent for span in spans] == ["", *(span.id for span in spans[:-1])]
    assert len({span.trace for span in collector.spans}) == 1
    assert collector.named("launch").parent == collector.named("claim").id
    steps = sorted((span for span in collector.spans if span.parent == spans[3].id), key=lambda span: span.begin)
    assert [step.name for step in steps] == ["export", "dataset", "train", "gate", "publish", "promote"]
    assert all(step.end <= after.begin for step, after in itertools.pairwise(steps))
    assert [span.service for span in spans] == ["train-trigger"] * 3 + ["train"] * 2 + ["predict"]
    assert all(not span.failed and span.begin <= span.end for span in collector.spans)
    run_id = program.job.jobs.read().last_run
    assert run_id is not None
    assert spans[3].attributes == {"labelloop.project": UID, "labelloop.run": run_id.run_id, "labelloop.attempt": 1}
    assert spans[-1].attributes["labelloop.version"] == "label:v1"


@needs_otel
def test_a_span_says_that_it_failed_and_not_why(tmp_path: Path) -> None:
    with otel_collector(tmp_path) as collector:
        tracing.configure("a", collector.endpoint)
        with pytest.raises(ValueError, match="secret"), tracing.span("outer"):
            raise ValueError("a secret")
        with tracing.span("from text that is none", "garbage"):
            pass
        tracing.flush()
        assert collector.named("outer").failed == "ValueError"
        assert collector.named("from text that is none").parent == ""
        assert "secret" not in repr(collector.spans)


@needs_otel
def test_a_collector_that_is_down_ends_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with web_server(lambda handler: handler.reply(503)) as web:
        pass
    with caplog.at_level(logging.WARNING):
        program = Program(tmp_path, web.url)
        program.event()
        program.train()
    assert program.job.outcome == "promoted"
    told = [record for record in caplog.records if record.__dict__.get("event") == "traces_lost"]
    assert len(told) <= 2, "once a program"
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


@needs_otel
def test_nobody_waits_for_a_collector_that_hangs(tmp_path: Path) -> None:
    over = threading.Event()

    def hang(handler: Handler) -> None:
        over.wait(30)

    with web_server(hang) as web:
        Program(tmp_path, web.url).event()  # flushes, and comes back although nothing was taken
        assert not over.is_set()
        over.set()


@pytest.mark.parametrize("endpoint", [None, "collector:4317"])
def test_without_a_collector_there_are_no_traces(tmp_path: Path, endpoint: str | None) -> None:
    program = Program(tmp_path, endpoint)
    program.event()
    assert program.world.claim.trace == ""
    program.train()
    assert "trace" not in Registry(program.world.store, UID).manifest("label", 1).lineage
    program.predict()


def test_an_address_that_is_none_is_told(caplog: pytest.LogCaptureFixture) -> None:
    tracing.configure("a", "collector:4317")
    with caplog.at_level(logging.WARNING), tracing.span("one") as one, tracing.span("two") as two:
        assert (one, two, tracing.current()) == ("", "", "")
    assert [record.__dict__["event"] for record in caplog.records] == ["no_traces"]
    assert "port 4318" in caplog.text
