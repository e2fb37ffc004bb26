"""What only the bucket store promises, against a real server and behind a proxy that loses answers."""

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, StoreError, StoreRefusal, UnsafeStore
from shared.objectstore import ObjectStore, open_store
from tests.servers.faulty_proxy import FaultyProxy, faulty_proxy
from tests.servers.s3_server import S3Server


@pytest.fixture
def url(s3_server: S3Server) -> str:
    return f"s3://{s3_server.bucket}/{secrets.token_hex(8)}"


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(url: str, proxy: FaultyProxy) -> ObjectStore:
    """A store that is reached by way of the proxy."""
    return open_store(url, s3_endpoint=proxy.url)


def read(store: ObjectStore, key: str) -> bytes:
    stored = store.get(key)
    assert stored is not None
    return stored.data


def test_a_replace_called_missing_although_nothing_changed_is_tried_again(
    store: ObjectStore, proxy: FaultyProxy
) -> None:
    token = store.create("a", b"1")
    proxy.faults.append(("PUT", 404))
    store.replace("a", b"2", token)
    assert read(store, "a") == b"2"


def test_a_replace_called_missing_that_lost_is_told(store: ObjectStore, proxy: FaultyProxy) -> None:
    token = store.create("a", b"1")
    store.put("a", b"2")
    proxy.faults.append(("PUT", 404))
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"3", token)
    assert read(store, "a") == b"2"


def test_a_store_that_refuses_for_ever_is_told(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.faults += [("PUT", 409)] * 100
    with pytest.raises(StoreError, match="409") as refusal:
        store.create("a", b"1")
    assert not isinstance(refusal.value, AlreadyExists)


def test_a_server_without_conditional_writes_is_unsafe(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.faults.append(("PUT", 501))
    with pytest.raises(UnsafeStore, match="conditional writes"):
        store.create("a", b"1")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that takes two parts."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(65 << 20)
        file.seek(65 << 20)
        file.write(b"end")
    return path


def test_a_large_file_goes_in_parts_and_only_if_absent(
    s3_server: S3Server, url: str, large: Path, tmp_path: Path
) -> None:
    store = open_store(url, s3_endpoint=s3_server.endpoint)
    store.upload("large", large)
    head = s3_server.client().head_object(Bucket=s3_server.bucket, Key=url.split("/", 3)[3] + "/large")
    assert head["ETag"].endswith('-2"'), "two parts"
    store.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()
    with large.open("r+b") as file:
        file.write(b"other")
    with pytest.raises(AlreadyExists):
        store.upload("large", large)
    left = s3_server.client().list_multipart_uploads(Bucket=s3_server.bucket).get("Uploads", [])
    assert left == [], "a refused upload leaves no parts"


def test_nobody_listens(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    store = open_store(url, s3_endpoint=endpoint)
    for use in (lambda: store.get("a"), lambda: store.create("a", b""), store.now, lambda: list(store.list(""))):
        with pytest.raises(StoreError, match="LABELLOOP_S3_ENDPOINT") as failure:
            use()
        assert endpoint in str(failure.value)
        assert "'labelloop'" in str(failure.value)


def test_a_missing_bucket_is_named(s3_server: S3Server) -> None:
    store = open_store("s3://nosuchbucket/x", s3_endpoint=s3_server.endpoint)
    with pytest.raises(StoreRefusal, match=r"'nosuchbucket'.*LABELLOOP_STORE") as failure:
        store.get("a")
    assert not isinstance(failure.value, NotFound)


def test_wrong_credentials_are_said_without_repeating_them(
    s3_server: S3Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    store = open_store(url, s3_endpoint=s3_server.endpoint)
    with pytest.raises(StoreRefusal, match="AWS_ACCESS_KEY_ID") as failure:
        store.create("a", b"")
    assert "wrong-secret" not in str(failure.value)
    assert s3_server.access_key not in str(failure.value)


def test_no_credentials_are_said(s3_server: S3Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in s3_server.environ:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(StoreRefusal, match="set AWS_ACCESS_KEY_ID"):
        open_store(url, s3_endpoint=s3_server.endpoint).get("a")


def test_stores_with_two_prefixes_share_nothing(s3_server: S3Server, url: str) -> None:
    one, other, root = (
        open_store(address, s3_endpoint=s3_server.endpoint)
        for address in (url + "/one", url + "/one-more/", f"s3://{s3_server.bucket}")
    )
    one.create("a", b"1")
    other.create("a", b"2")
    assert list(one.list("")) == ["a"]
    assert read(other, "a") == b"2"
    prefix = url.split("/", 3)[3]
    assert list(root.list(prefix)) == [f"{prefix}/one-more/a", f"{prefix}/one/a"]
