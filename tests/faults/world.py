"""Everything that takes part: Label Studio, an S3 server, the programs, and a proxy before each server."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from infra.cli.connect import connect
from infra.cli.findings import problems
from infra.demo.samples import base_weights, tiles
from infra.local.base_weights import ensure
from infra.local.label_studio import REPOSITORY, label_studio
from infra.local.processes import LOOPBACK, StartError, choose_port
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.web.peer import straight_session
from tests.faults.behaviours import pictures
from tests.faults.disk import Disk, disk
from tests.faults.processes import Process, Supervisor
from tests.faults.project import LABEL_CONFIG, Project
from tests.faults.proxy import Proxy, forward
from tests.servers.s3_server import S3Server
from tests.servers.seaweedfs import seaweedfs

TASKS = 12
FUNCTIONS = ("predict", "train_trigger")
_START_SECONDS = 180.0
_CONNECT_TRIES = 5
_REST = 2.0  # seconds that a part of a killed program may still answer
_DEADLINE = 20.0  # seconds for a prediction


@dataclass(frozen=True, slots=True)
class World:
    """What is running. The programs know the proxies alone; what is checked is read behind their backs."""

    settings: Settings  # of the programs
    s3: S3Server
    label_studio: Proxy
    store: Proxy
    images: Proxy
    events: Proxy
    supervisor: Supervisor
    disk: Disk
    project: Project
    real_store: ObjectStore
    jobs: Jobs
    registry: Registry
    kills: dict[str, float] = field(default_factory=dict)  # program: when it was killed or starved last
    answers: dict[str, float] = field(default_factory=dict)  # program: when it was asked, of the last answer

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """All of them."""
        return self.label_studio, self.store, self.images, self.events

    def job_processes(self) -> list[Process]:
        """Of trainings, whoever started them."""
        return [process for process in self.supervisor.processes() if process.is_job]

    def processes_of(self, name: str) -> list[Process]:
        """Of one program."""
        group = self.supervisor.child(name).pid
        return [process for process in self.supervisor.processes() if process.group == group]

    def may_be_down(self, name: str, asked: float) -> bool:
        """Whether a request may have met a program that was killed: since then, or before and it has not come back."""
        return self.kills.get(name, 0.0) > min(asked, self.answers.get(name, 0.0))

    def answered(self, name: str, asked: float) -> None:
        """It came back, if it was asked so long after a kill that this is not the rest of what was killed."""
        if asked > self.kills.get(name, 0.0) + _REST:
            self.answers[name] = max(asked, self.answers.get(name, 0.0))

    def ask_predict(self, tasks: list[int]) -> requests.Response:
        """As Label Studio does. Raises requests.RequestException."""
        body = {
            "tasks": [{"id": task, "data": self.project.tasks[task]} for task in tasks],
            "project": self.project.uid,
            "label_config": LABEL_CONFIG,
            "params": {},
        }
        return self._post(f"{self.settings.predict_url}/predict", body)

    def press_start(self) -> None:
        """Start Training, as a person does after a run that failed."""
        self._post(f"{self.settings.train_trigger_url}/train", {"project": self.project.uid})

    def train_briefly(self) -> None:
        """One epoch from now on: what /setup keeps when a project says so in its backend's extra params."""
        write_project(self.real_store, self.project.uid, label_config=LABEL_CONFIG, overrides={"epochs": 1})

    def healthy(self, name: str) -> bool:
        """Whether a function answers."""
        url = self.settings.predict_url if name == "predict" else self.settings.train_trigger_url
        try:
            return straight_session().get(f"{url}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _post(self, url: str, body: object) -> requests.Response:
        assert self.settings.basic_auth_password
        access = (self.settings.basic_auth_user, self.settings.basic_auth_password.get_secret_value())
        return straight_session().post(url, json=body, auth=access, timeout=_DEADLINE * 3)


@contextmanager
def world(folder: Path, say: Callable[[str], None]) -> Iterator[World]:
    """Start everything and connect a project, as `labelloop connect` does; end everything on leaving."""
    with ExitStack() as running:
        parts = tiles()[:TASKS]
        weights = base_weights()
        server = running.enter_context(label_studio(folder / "label-studio", say=say))
        s3 = running.enter_context(seaweedfs(folder / "s3"))
        running.enter_context(_in_environment(s3.environ))
        small = running.enter_context(disk(folder / "disk"))
        trigger_url = f"http://{LOOPBACK}:{choose_port()}"
        proxies = [
            running.enter_context(Proxy(source))
            for source in (
                forward(server.url),
                forward(s3.endpoint),
                pictures([tile.data for tile in parts]),
                forward(trigger_url),
            )
        ]
        to_label_studio, to_store, images, events = proxies
        settings = Settings.from_environ(
            {
                "LABEL_STUDIO_URL": to_label_studio.url,
                "LABEL_STUDIO_API_KEY": server.personal_access_token(),
                "LABELLOOP_STORE": f"s3://{s3.bucket}/faults",
                "LABELLOOP_S3_ENDPOINT": to_store.url,
                "HOST": LOOPBACK,
                "PREDICT_URL": f"http://{LOOPBACK}:{choose_port()}",
                "TRAIN_TRIGGER_URL": trigger_url,
                "LABELLOOP_BASIC_AUTH_PASSWORD": secrets.token_urlsafe(12),
                "LABELLOOP_WEBHOOK_SECRET": secrets.token_urlsafe(12),
                "LABELLOOP_WORK_DIR": str(small.folder / "work"),
                "LABELLOOP_CACHE_DIR": str(small.folder / "cache"),
                "LABELLOOP_BASE_WEIGHTS": str(weights),
                **_QUICK,
            }
        )
        (small.folder / "tmp").mkdir()
        environ = {
            "PATH": os.defpath,
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(folder),
            "TMPDIR": str(small.folder / "tmp"),
            "LANG": "C.UTF-8",
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),  # a folder that torch makes once, always the same
            **s3.environ,
            **settings.to_environ(),
        }
        real_store = open_store(settings.store, s3_endpoint=s3.endpoint)
        ensure(real_store, settings, environ, say)
        supervisor = Supervisor(folder / "logs", environ)
        running.callback(supervisor.stop)
        for name in FUNCTIONS:
            _start_function(supervisor, name, settings)
        for name in FUNCTIONS:
            url = settings.predict_url if name == "predict" else settings.train_trigger_url
            supervisor.child(name).wait_until_healthy(f"{url}/health", _START_SECONDS, say)
        supervisor.run("sweeper", [sys.executable, "-m", "tests.faults.sweeper"])
        project = Project(server, images.url, parts)
        _connect(settings, project, real_store, f"{events.url}/webhook")
        yield World(
            settings=settings,
            s3=s3,
            label_studio=to_label_studio,
            store=to_store,
            images=images,
            events=events,
            supervisor=supervisor,
            disk=small,
            project=project,
            real_store=real_store,
            jobs=Jobs(real_store, project.uid),
            registry=Registry(real_store, project.uid),
        )


_QUICK = {
    "LABELLOOP_MIN_ANNOTATIONS": "4",
    "LABELLOOP_CHANGED_SHARE": "0",
    "LABELLOOP_COOL_DOWN": "0",
    "LABELLOOP_ATTEMPTS": "3",
    "LABELLOOP_DEBOUNCE": "0.2",
    "LABELLOOP_CLAIM_LIFETIME": "30",
    "LABELLOOP_SWEEP_INTERVAL": "1",
    "LABELLOOP_EPOCHS": "4",  # of the first training alone
    "LABELLOOP_IMAGE_SIZE": "128",
    "LABELLOOP_BATCH": "8",
    "LABELLOOP_WORKERS": "0",
    "LABELLOOP_THREADS": "1",
    "LABELLOOP_PUSH": "off",  # promises are about predictions that are asked for
    "LABELLOOP_DEVICE": "cpu",
    "LABELLOOP_FETCH_TIMEOUT": "3",
    "LABELLOOP_IMAGE_MAX_BYTES": "4000000",
    "LABELLOOP_ALLOWED_PRIVATE_HOSTS": LOOPBACK,
    "LABELLOOP_PREDICT_DEADLINE": str(_DEADLINE),
    "LABELLOOP_POINTER_MAX_AGE": "1",
}
"""So that a training takes seconds, and what is waited for comes soon."""


def _connect(settings: Settings, project: Project, store: ObjectStore, webhook: str) -> None:
    """As `labelloop connect` does. A machine that is busy may need more than one try. Raises StartError."""
    label_studio = LabelStudio(*settings.label_studio())
    for _ in range(_CONNECT_TRIES):
        wrong = problems(connect(label_studio, settings, project.id, store=store, webhook_url=webhook))
        if not wrong:
            return
    raise StartError(f"the project cannot be connected: {wrong[0].message} {wrong[0].remedy}")


def _start_function(supervisor: Supervisor, name: str, settings: Settings) -> None:
    url = settings.predict_url if name == "predict" else settings.train_trigger_url
    port = str(url).rpartition(":")[2]
    source = REPOSITORY / "functions" / name / "main.py"
    command = [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", name]
    supervisor.run(name, [*command, "--host", LOOPBACK, "--port", port], PORT=port)


@contextmanager
def _in_environment(variables: dict[str, str]) -> Iterator[None]:
    """boto3 of this process looks for its credentials there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
