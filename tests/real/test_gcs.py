"""What only the store in Google's buckets promises, against fake-gcs-server.

The emulator differs from Google: it looks at no precondition of a resumable upload and at no checksum of an upload, it
does not limit writes, it asks for no credentials, and its 404 does not say whether the bucket is missing.
"""

import json
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.auth.exceptions import RefreshError, TransportError

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, StoreError, StoreRefusal
from shared.objectstore import ObjectStore, open_store
from shared.objectstore.gcs_errors import translate
from shared.state import claims
from shared.state.jobs import Jobs
from tests.servers.fake_gcs import FakeGCS
from tests.servers.faulty_proxy import DAMAGE, FaultyProxy, faulty_proxy


@pytest.fixture
def url(gcs_server: FakeGCS) -> str:
    return f"gs://{gcs_server.bucket}/{secrets.token_hex(8)}"


@pytest.fixture
def proxy(gcs_server: FakeGCS, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(gcs_server.url) as proxy, gcs_server.reached_at(proxy.url):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        yield proxy


@pytest.fixture
def store(url: str, proxy: FaultyProxy) -> ObjectStore:
    """A store that is reached by way of the proxy."""
    return open_store(url)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that takes two parts."""
    path = tmp_path / "large"
    path.write_bytes(secrets.token_bytes(17 << 20))
    return path


def test_a_large_file_goes_in_parts(store: ObjectStore, proxy: FaultyProxy, large: Path, tmp_path: Path) -> None:
    store.upload("large", large)
    assert proxy.seen == ["GET 404", "POST 200", "PUT 308", "PUT 200"]
    store.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


def test_a_large_file_is_refused_before_it_is_sent(store: ObjectStore, proxy: FaultyProxy, large: Path) -> None:
    store.create("large", b"first")
    with pytest.raises(AlreadyExists):
        store.upload("large", large)
    assert "PUT" not in " ".join(proxy.seen)
    assert list(store.list("")) == ["large"]


@pytest.mark.parametrize("status", [410, 412])
def test_a_large_file_refused_at_its_end_while_nothing_is_there_is_sent_again(
    store: ObjectStore, proxy: FaultyProxy, large: Path, status: int
) -> None:
    proxy.faults.append(("PUT", status))  # Google looks at the condition only now
    store.upload("large", large)
    assert proxy.seen[-3:] == ["POST 200", "PUT 308", "PUT 200"]


def test_a_large_file_damaged_on_its_way_is_not_left_there(store: ObjectStore, proxy: FaultyProxy, large: Path) -> None:
    proxy.faults.append(("PUT", DAMAGE))
    with pytest.raises(StoreError, match="damaged"):
        store.upload("large", large)
    assert list(store.list("")) == []


def test_a_download_damaged_on_its_way_is_made_again(
    store: ObjectStore, proxy: FaultyProxy, large: Path, tmp_path: Path
) -> None:
    store.upload("large", large)
    proxy.faults.append(("GET", DAMAGE))
    store.download("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()
    assert proxy.seen[-2:] == ["GET 200", "GET 200"]


def test_claims_converge_where_an_object_takes_few_writes(store: ObjectStore, proxy: FaultyProxy, url: str) -> None:
    proxy.write_interval = 0.2  # Google's is about a second
    writers, times = 4, 2

    def grow(_: int) -> None:
        jobs = Jobs(open_store(url), "1.1700000000")
        for _ in range(times):
            jobs.update(claims.next_fence, 0)

    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(grow, range(writers)))
    assert Jobs(store, "1.1700000000").read().fence == 1000 * writers * times
    assert "POST 429" in proxy.seen


def test_after_a_write_too_many_it_looks_whether_somebody_else_wrote(store: ObjectStore, proxy: FaultyProxy) -> None:
    token = store.create("a", b"1")
    store.put("a", b"2")
    proxy.faults.append(("POST", 429))
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"3", token)
    assert proxy.seen[2:] == ["POST 429", "GET 200"], "an old token does not wait in line"


def test_a_write_without_condition_waits_for_its_turn(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.faults += [("POST", 429)] * 2
    store.put("progress", b"1")
    assert proxy.seen == ["POST 429", "POST 429", "POST 200"]


def test_a_refusal_is_told_with_the_role_and_without_the_address_of_the_upload(
    store: ObjectStore, proxy: FaultyProxy, large: Path
) -> None:
    proxy.faults.append(("PUT", 403))
    with pytest.raises(StoreRefusal, match=r"403.*roles/storage\.objectUser") as failure:
        store.upload("large", large)
    assert "upload_id" not in f"{failure.value} {failure.value.__cause__}"


def test_nobody_listens(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(StoreError, match=r"'labelloop'.*not reachable.*STORAGE_EMULATOR_HOST"):
        open_store(url).get("a")


def test_a_missing_bucket_is_named(gcs_server: FakeGCS) -> None:
    store = open_store("gs://nosuchbucket/x")
    for use in (lambda: store.create("a", b""), lambda: store.put("a", b""), lambda: list(store.list(""))):
        with pytest.raises(StoreRefusal, match=r"'nosuchbucket'.*LABELLOOP_STORE") as failure:
            use()
        assert not isinstance(failure.value, NotFound)


def test_credentials_that_are_not_there_are_said(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    key = tmp_path / "key.json"
    for content in (None, "{}", json.dumps({"type": "service_account", "private_key": "private-secret"})):
        if content:
            key.write_text(content)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(StoreRefusal, match="GOOGLE_APPLICATION_CREDENTIALS") as failure:
            open_store(url).get("a")
        assert "private-secret" not in str(failure.value)


def test_credentials_that_are_refused_are_said_without_repeating_them() -> None:
    refused = RefreshError("invalid_grant: refresh-secret", {"error_description": "refresh-secret"})
    refusal = translate(refused, "reading a", "bucket 'b'")
    told = str(refusal)
    assert isinstance(refusal, StoreRefusal)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in told
    assert "refresh-secret" not in told


def test_a_metadata_server_that_does_not_answer_is_an_outage() -> None:
    refused = RefreshError("no token")
    refused.__cause__ = TransportError("nobody answers")
    assert not isinstance(translate(refused, "reading a", "bucket 'b'"), StoreRefusal)


def test_stores_with_two_prefixes_share_nothing(gcs_server: FakeGCS, url: str) -> None:
    one, other = open_store(url + "/one"), open_store(url + "/one-more/")
    one.create("a", b"1")
    other.create("a", b"2")
    assert list(one.list("")) == ["a"]
    assert list(open_store(url).folders("one")) == []
    assert list(open_store(f"gs://{gcs_server.bucket}").folders(url.split("/", 3)[3])) == ["one", "one-more"]
