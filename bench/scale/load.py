"""Simulates annotators and their events, train_trigger processes behind one address, and the sweep's scheduler."""

import io
import json
import random
from array import array
from bisect import bisect
from collections import Counter
from itertools import accumulate
from typing import Any

from flask import Request, Response
from pydantic import SecretStr

from bench.scale.bucket import Bucket, SimulatedStore
from bench.scale.clock import Clock, Core, Gate, VirtualThreads
from bench.scale.gpus import Gpus
from bench.scale.label_studio import CREATED, Caller, LabelStudio
from bench.scale.launcher import Launcher
from bench.scale.plan import Plan
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.routes import Routes
from functions.train_trigger.trigger import Trigger
from functions.train_trigger.warm_up import WarmUp
from shared.evolve import evolve
from shared.settings import Settings
from shared.web.access import SECRET_HEADER
from shared.web.http import Function, Route

_SECRET = "s"
_REQUEST_CPU = 0.0015  # seconds of gunicorn, functions-framework and flask, measured with an echo
_NETWORK = (0.002, 0.010)  # seconds, minimum and maximum
_GIVES_UP = 1.0  # seconds after which Label Studio does


class Instance:
    """One process of train_trigger: real routes and trigger on simulated parts."""

    def __init__(self, clock: Clock, plan: Plan, bucket: Bucket, label_studio: LabelStudio, gpus: Gpus) -> None:
        self.core = Core(clock)
        self.metrics = Metrics()
        self._clock = clock
        self._gate = Gate(clock, plan.threads)
        store = SimulatedStore(bucket, self.core)
        settings = evolve(
            Settings(),
            store="s3://labelloop",
            min_annotations=plan.min_annotations,
            changed_share=plan.changed_share,
            cool_down=plan.cool_down,
            attempts=plan.attempts,
            webhook_secret=SecretStr(_SECRET),
        )
        trigger = Trigger(store, Caller(label_studio, self.core), Launcher(gpus, self.core), settings, self.metrics)
        warm_up = WarmUp(settings, store, self.metrics)
        self.routes = Routes(store, trigger, warm_up, self.metrics, VirtualThreads(clock), debounce=plan.debounce)
        self._function = Function(
            [
                Route("POST", "/webhook", "basic or secret", self.routes.webhook),
                Route("POST", "/sweep", "basic or secret", self.routes.sweep),
            ],
            settings,
            registry=self.metrics.registry,
        )

    @property
    def left_to_the_sweep(self) -> int:
        """Number of events left to the sweep."""
        found = self.metrics.text().decode()
        return sum(
            int(float(line.split()[1]))
            for line in found.splitlines()
            if line.startswith("labelloop_events_left_to_sweep_total")
        )

    def post(self, path: str, body: bytes) -> Response:
        """Handle a request: wait for a thread, for the core, and for the function."""
        self._gate.enter()
        self.core.work(_REQUEST_CPU)
        response = self._function(_request(path, body))
        self.core.check()
        self._gate.leave()
        return response


class Load:
    """The load, and how it was answered."""

    def __init__(self, clock: Clock, plan: Plan, bucket: Bucket, label_studio: LabelStudio, gpus: Gpus) -> None:
        self._parts = clock, plan, bucket, label_studio, gpus
        self._clock, self._plan, self._label_studio = clock, plan, label_studio
        self._random = random.Random(f"load {plan.seed}")
        self._weights = list(accumulate(1 / rank for rank in range(1, plan.projects + 1)))
        self.instances = [Instance(*self._parts) for _ in range(plan.instances)]
        self.cores = [instance.core for instance in self.instances]  # of killed instances too
        self.sent = 0
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.latencies = array("d")
        self.sweeps: list[dict[str, Any]] = []

        self.marked: dict[str, Any] = {}

    def mark(self) -> None:
        """Record the figures at the end of the load."""
        _, _, bucket, label_studio, gpus = self._parts
        self.marked = {
            "store": bucket.requests.copy(),
            "label studio": label_studio.requests.copy(),
            "sent": self.sent,
            "gpu": gpus.busy_seconds(),
            "cpu": sum(core.busy for core in self.cores),
            "waiting": label_studio.max_waiting,
            "left to the sweep": sum(instance.left_to_the_sweep for instance in self.instances),
        }

    def begin(self) -> None:
        """Start annotators, scheduler and kills."""
        self._clock.spawn(self._annotate)
        self._clock.spawn(self._schedule)
        self._clock.spawn(self._kill)

    def _annotate(self) -> None:
        draw, plan, clock = self._random, self._plan, self._clock
        while clock.now < plan.seconds:
            clock.sleep(draw.expovariate(plan.events))
            number = bisect(self._weights, draw.random() * self._weights[-1]) + 1
            update = draw.random() < plan.updates
            self._label_studio.annotate(number, update=update)
            self.counts["changes"] += 1
            if draw.random() < plan.lost_events:
                self.counts["events lost on the way"] += 1
                continue
            body = self._event(number, "ANNOTATION_UPDATED" if update else "ANNOTATION_CREATED")
            for _ in range(2 if draw.random() < plan.doubled_events else 1):
                clock.spawn(self._send, body)

    def _send(self, body: bytes) -> None:
        clock, draw = self._clock, self._random
        self.sent += 1
        began, instance = clock.now, draw.choice(self.instances)
        clock.sleep(draw.uniform(*_NETWORK))
        response = instance.post("/webhook", body)
        self.latencies.append(clock.now - began)
        self.answers[f"{response.status_code} {json.loads(response.get_data()).get('status', '')}"] += 1
        self.counts["events answered after Label Studio gave up"] += clock.now - began > _GIVES_UP

    def _schedule(self) -> None:
        while True:
            self._clock.spawn(self._sweep)
            self._clock.sleep(self._plan.sweep_every)

    def _sweep(self) -> None:
        began = self._clock.now
        self.counts["sweeps begun"] += 1
        response = self._random.choice(self.instances).post("/sweep", b"")
        summary = json.loads(response.get_data())
        self.sweeps.append({"seconds": self._clock.now - began, **summary})

    def _kill(self) -> None:
        plan, draw = self._plan, self._random
        while plan.instance_kills:
            self._clock.sleep(draw.expovariate(plan.instance_kills / 3600))
            position = draw.randrange(len(self.instances))
            self.instances[position].core.killed = True
            self.instances[position] = Instance(*self._parts)
            self.cores.append(self.instances[position].core)
            self.counts["instances killed"] += 1

    def _event(self, number: int, action: str) -> bytes:
        count = self._label_studio.projects[number].count
        counters = {"total_annotations_number": count, "num_tasks_with_annotations": count}
        project = {"id": number, "created_at": CREATED.isoformat(), **counters}
        return json.dumps({"action": action, "project": project}).encode()


def _request(path: str, body: bytes) -> Request:
    return Request(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "simulated",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            f"HTTP_{SECRET_HEADER.upper().replace('-', '_')}": _SECRET,
        }
    )
