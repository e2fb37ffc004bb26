"""Fixtures that several test files share: a real S3 server, an emulator of Google's, and every kind of store."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from shared.objectstore import ObjectStore, open_store
from tests.scheduling import Scheduling, place
from tests.servers.ceph import ceph
from tests.servers.fake_gcs import FakeGCS, fake_gcs
from tests.servers.s3_server import S3Server
from tests.servers.seaweedfs import seaweedfs

# A property's deadline would be a wall-clock time. `make test` tries the same cases at every run, `make fuzz` new ones.
settings.register_profile("labelloop", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile("labelloop")

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch: processes with a thread a core wait for each other
    os.environ.setdefault("LABELLOOP_THREADS", "1")  # of jobs and functions, likewise
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime in the tests' own processes; programs set it themselves

_S3_SERVERS = {"seaweedfs": seaweedfs, "ceph": ceph}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--s3-server ceph`: what the tests of S3 run against."""
    parser.addoption(
        "--s3-server", choices=list(_S3_SERVERS), default="seaweedfs", help="the S3 server that the tests start"
    )


@pytest.hookimpl(optionalhook=True)  # unknown without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Say which tests run in one process. Not by marks: pytest 9.2 ignores those of pytest-xdist 3.8."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests begin first, where several processes share them."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place(item.nodeid))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is left out: Ceph's packages need root and half a minute."""
    if config.getoption("--s3-server") == "seaweedfs":
        return "S3 server: SeaweedFS; Ceph is not part of this run: its packages need root (make test-ceph)"
    return "S3 server: Ceph"


@pytest.fixture(scope="session")
def s3_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for the whole session; its credentials are in the environment, where boto3 looks for them."""
    start = _S3_SERVERS[request.config.getoption("--s3-server")]
    with start(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as environ:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
            environ.delenv(name, raising=False)
        for name, value in server.environ.items():
            environ.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGCS]:
    """A fake-gcs-server for the whole session; its address is in the environment, where the library looks for it."""
    with fake_gcs(tmp_path_factory.mktemp("gcs")) as server, pytest.MonkeyPatch.context() as environ:
        for name, value in server.environ.items():
            environ.setenv(name, value)
        yield server


@pytest.fixture(params=["file", "s3", "gs"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ObjectStore]:
    """Opens one empty store, again at every call, as another process would. Each test runs with every kind."""
    if request.param == "file":
        return lambda: open_store((tmp_path / "store").as_uri())
    if request.param == "gs":
        gs_url = f"gs://{request.getfixturevalue('gcs_server').bucket}/{secrets.token_hex(8)}"
        return lambda: open_store(gs_url)
    server: S3Server = request.getfixturevalue("s3_server")
    url = f"s3://{server.bucket}/{secrets.token_hex(8)}"
    return lambda: open_store(url, s3_endpoint=server.endpoint)


@pytest.fixture
def store(reopen: Callable[[], ObjectStore]) -> ObjectStore:
    """An empty store, of every kind."""
    return reopen()


@pytest.fixture
def file_store(tmp_path: Path) -> ObjectStore:
    """An empty store in a folder."""
    return open_store((tmp_path / "store").as_uri())
