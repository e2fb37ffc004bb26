"""What both bucket stores promise on a bad network: real servers behind a proxy that loses, damages and refuses."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import AlreadyExists, PreconditionFailed
from shared.objectstore import ObjectStore, open_store
from tests.servers.fake_gcs import FakeGCS
from tests.servers.faulty_proxy import LOSE_ANSWER, FaultyProxy, faulty_proxy
from tests.servers.s3_server import S3Server


@dataclass(frozen=True, slots=True)
class Network:
    """A store that is reached by way of the proxy, and how it speaks."""

    proxy: FaultyProxy
    store: ObjectStore
    write: str  # method of a small write
    ask: str  # method that asks for the time
    finish: tuple[str, int]  # the last request of a file that goes in parts, as a fault that loses its answer
    large: int  # bytes of a file that goes in parts


@pytest.fixture(params=["s3", "gs"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    prefix = secrets.token_hex(8)
    if request.param == "s3":
        s3: S3Server = request.getfixturevalue("s3_server")
        with faulty_proxy(s3.endpoint) as proxy:
            store = open_store(f"s3://{s3.bucket}/{prefix}", s3_endpoint=proxy.url)
            yield Network(proxy, store, "PUT", "HEAD", ("POST uploadId=", LOSE_ANSWER), (65 << 20) + 3)
        return
    gcs: FakeGCS = request.getfixturevalue("gcs_server")
    with faulty_proxy(gcs.url) as proxy, gcs.reached_at(proxy.url):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        store = open_store(f"gs://{gcs.bucket}/{prefix}")
        yield Network(proxy, store, "POST", "GET", ("PUT", LOSE_ANSWER), (9 << 20) + 3)


def read(store: ObjectStore, key: str) -> bytes:
    stored = store.get(key)
    assert stored is not None
    return stored.data


def test_a_create_whose_answer_was_lost_is_ours(network: Network) -> None:
    network.proxy.faults.append((network.write, LOSE_ANSWER))
    token = network.store.create("a", b"ours")
    assert network.proxy.seen == [f"{network.write} lost", f"{network.write} 412", "GET 200"]
    assert network.store.get("a", if_changed_from=token) is None


def test_a_replace_whose_answer_was_lost_is_ours(network: Network) -> None:
    first = network.store.create("a", b"1")
    network.proxy.faults.append((network.write, LOSE_ANSWER))
    second = network.store.replace("a", b"2", first)
    assert network.proxy.seen == [f"{network.write} {answer}" for answer in ("200", "lost", "412")] + ["GET 200"]
    network.store.replace("a", b"3", second)


@pytest.mark.parametrize("status", [409, 412])
def test_a_create_refused_while_nothing_is_there_is_tried_again(network: Network, status: int) -> None:
    network.proxy.faults.append((network.write, status))
    network.store.create("a", b"1")
    assert network.proxy.seen == [f"{network.write} {status}", "GET 404", f"{network.write} 200"]


@pytest.mark.parametrize("status", [409, 412])
def test_a_replace_refused_although_nothing_changed_is_tried_again(network: Network, status: int) -> None:
    token = network.store.create("a", b"1")
    network.proxy.faults.append((network.write, status))
    network.store.replace("a", b"2", token)
    assert read(network.store, "a") == b"2"


@pytest.mark.parametrize("status", [409, 412])
def test_a_replace_that_lost_is_told(network: Network, status: int) -> None:
    token = network.store.create("a", b"1")
    network.store.put("a", b"2")
    network.proxy.faults.append((network.write, status))
    with pytest.raises(PreconditionFailed):
        network.store.replace("a", b"3", token)
    assert read(network.store, "a") == b"2"


def test_a_busy_store_is_asked_again(network: Network) -> None:
    network.proxy.faults += [(network.write, 503), ("GET", 500)]
    network.store.create("a", b"1")
    assert read(network.store, "a") == b"1"


def test_an_upload_whose_answer_was_lost_is_ours(network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    network.proxy.faults.append((network.write, LOSE_ANSWER))
    network.store.upload("a", tmp_path / "file")
    (tmp_path / "longer").write_bytes(b"x" * 3_000_001)
    with pytest.raises(AlreadyExists):
        network.store.upload("a", tmp_path / "longer")


def test_a_large_file_whose_last_answer_was_lost_is_ours(network: Network, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(network.large - 3)
        file.seek(network.large - 3)
        file.write(b"end")
    network.proxy.faults += [("PUT", 500), network.finish]
    network.store.upload("large", large)
    method = network.finish[0].split()[0]
    assert f"{method} lost" in network.proxy.seen
    assert list(network.store.list("")) == ["large"]
    network.store.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


def test_the_clock_is_the_servers(network: Network) -> None:
    assert abs(network.store.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert network.proxy.seen == [f"{network.ask} 404"]
    network.store.now()
    assert network.proxy.seen == [f"{network.ask} 404"], "an answer that is young enough spares the question"
