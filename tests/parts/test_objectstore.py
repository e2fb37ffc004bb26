"""The port's promises, kept by all adapters: a folder, a bucket of a real S3 server, one of an emulator of Google's."""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, SettingsError, StoreError
from shared.objectstore import ObjectStore, Token, open_store

Reopen = Callable[[], ObjectStore]


def read(store: ObjectStore, key: str) -> bytes:
    stored = store.get(key)
    assert stored is not None
    return stored.data


def test_what_was_created_is_read_by_another_process(store: ObjectStore, reopen: Reopen) -> None:
    token = store.create("projects/1.2/jobs.json", b"body")
    found = reopen().get("projects/1.2/jobs.json")
    assert found is not None
    assert (found.data, found.token) == (b"body", token)


def test_create_refuses_what_is_there(store: ObjectStore) -> None:
    store.create("a/b", b"first")
    with pytest.raises(AlreadyExists):
        store.create("a/b", b"second")
    assert read(store, "a/b") == b"first"


def test_replace_needs_the_newest_token(store: ObjectStore) -> None:
    first = store.create("a", b"1")
    second = store.replace("a", b"2", first)
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"3", first)
    store.replace("a", b"4", second)
    assert read(store, "a") == b"4"


def test_replace_of_what_is_gone_writes_nothing(store: ObjectStore) -> None:
    token = store.create("a", b"1")
    store.delete("a")
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"2", token)
    with pytest.raises(PreconditionFailed):
        store.replace("never", b"2", token)
    assert list(store.list("")) == []


def test_a_read_since_a_token_answers_only_changes(store: ObjectStore) -> None:
    token = store.create("a", b"1")
    assert store.get("a", if_changed_from=token) is None
    newer = store.replace("a", b"2", token)
    found = store.get("a", if_changed_from=token)
    assert found is not None
    assert (found.data, found.token) == (b"2", newer)


def test_put_writes_in_any_case(store: ObjectStore) -> None:
    store.put("a", b"1")
    token = store.put("a", b"2")
    assert store.get("a", if_changed_from=token) is None
    assert read(store, "a") == b"2"


def test_what_is_not_there(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.get("a")
    with pytest.raises(NotFound):
        store.get("a", if_changed_from=Token("0" * 32))
    with pytest.raises(NotFound):
        store.download("a", tmp_path / "a")
    store.delete("a")
    assert list(store.list("a")) == []
    assert not (tmp_path / "a").exists()


def test_empty_objects_are_objects(store: ObjectStore) -> None:
    token = store.create("empty", b"")
    assert read(store, "empty") == b""
    with pytest.raises(AlreadyExists):
        store.create("empty", b"x")
    store.replace("empty", b"x", token)


def test_folders_are_those_right_below(store: ObjectStore) -> None:
    for key in ("a/c/1", "a/b.b/2/3", "a/b.b/4", "a/%2Fü/5", "a/file", "ab/d/6"):
        store.create(key, b"x")
    assert list(store.folders("a")) == ["%2Fü", "b.b", "c"]
    assert list(store.folders("a/b.b")) == ["2"]
    assert list(store.folders("a/c")) == list(store.folders("a/file")) == list(store.folders("nowhere")) == []


def test_list_is_by_plain_prefix_in_order(store: ObjectStore) -> None:
    keys = ["a/b/2", "a/b/10", "a-b", "a0", "ab/ü", "a/%2E%2E%2Fx", "b", "a/b.json", "a/b-c/d"]
    for key in keys:
        store.create(key, b"x")
    assert list(store.list("")) == sorted(keys)
    assert list(store.list("a/")) == ["a/%2E%2E%2Fx", "a/b-c/d", "a/b.json", "a/b/10", "a/b/2"]
    assert list(store.list("a/b")) == ["a/b-c/d", "a/b.json", "a/b/10", "a/b/2"]
    assert list(store.list("a/b/1")) == ["a/b/10"]
    assert list(store.list("a/b/2/")) == []
    assert list(store.list("nothing/here/")) == []


def test_list_answers_more_than_one_page(store: ObjectStore) -> None:
    keys = [f"many/{number:04d}" for number in range(1050)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.put(key, b""), keys))
    assert list(store.list("many/")) == keys


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "a\0b"])
def test_keys_cannot_leave_the_store(store: ObjectStore, key: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for use in (
        lambda: store.get(key),
        lambda: store.create(key, b""),
        lambda: store.replace(key, b"", Token("0")),
        lambda: store.put(key, b""),
        lambda: store.delete(key),
        lambda: store.upload(key, tmp_path / "file"),
        lambda: store.download(key, tmp_path / "copy"),
    ):
        with pytest.raises(StoreError, match="not a key"):
            use()
    assert list(store.list("")) == []


def test_files_go_up_and_down(store: ObjectStore, tmp_path: Path) -> None:
    original, copy = tmp_path / "weights.pt", tmp_path / "copy.pt"
    original.write_bytes(random.Random(1).randbytes(3 << 20))
    store.upload("files/weights.pt", original)
    copy.write_bytes(b"older")
    store.download("files/weights.pt", copy)
    assert copy.read_bytes() == original.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} - {"store"} == {"weights.pt", "copy.pt"}


def test_upload_refuses_what_is_there(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    store.create("a", b"first")
    file.write_bytes(b"second")
    with pytest.raises(AlreadyExists):
        store.upload("a", file)
    assert read(store, "a") == b"first"


def test_upload_of_a_missing_file_names_it(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no-such-file"):
        store.upload("a", tmp_path / "no-such-file")
    with pytest.raises(NotFound):
        store.get("a")


def test_download_into_a_missing_folder_names_it(store: ObjectStore, tmp_path: Path) -> None:
    store.create("a", b"x")
    with pytest.raises(StoreError, match="no-such-folder"):
        store.download("a", tmp_path / "no-such-folder" / "a")


def test_the_clock_is_aware_and_right(store: ObjectStore) -> None:
    assert store.now().utcoffset() == timedelta(0)
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_of_many_creators_one_wins(reopen: Reopen) -> None:
    stores = [reopen() for _ in range(12)]
    together = threading.Barrier(len(stores))

    def compete(number: int) -> bool:
        together.wait()
        try:
            stores[number].create("a", str(number).encode())
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(len(stores)) as threads:
        winners = [number for number, won in enumerate(threads.map(compete, range(len(stores)))) if won]
    assert [str(number).encode() for number in winners] == [read(stores[0], "a")]


def test_a_reader_never_sees_half_an_object(reopen: Reopen) -> None:
    bodies = [bytes([number]) * 200_000 for number in range(2)]
    writer, reader = reopen(), reopen()
    writer.put("a", bodies[0])
    stop = threading.Event()

    def write() -> None:
        for number in range(30):
            writer.put("a", bodies[number % 2])
        stop.set()

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(write)
        seen = set()
        while not stop.is_set() and not writing.done():
            seen.add(read(reader, "a"))
        writing.result()
    assert seen <= set(bodies)


INCREMENT = """
import json, os, random, secrets, sys, time
from shared.errors import PreconditionFailed
from shared.objectstore import open_store

url, endpoint, processes, times = sys.argv[1], sys.argv[2] or None, int(sys.argv[3]), int(sys.argv[4])
if url.startswith("s3:"):
    import boto3
elif url.startswith("gs:"):
    import google.cloud.storage

def increment():
    store = open_store(url, s3_endpoint=endpoint)
    for _ in range(times):
        while True:
            stored = store.get("pointer.json")
            value = json.loads(stored.data)["value"]
            body = json.dumps({"value": value + 1, "serial": secrets.token_hex(8)}).encode()
            try:
                store.replace("pointer.json", body, stored.token)
                break
            except PreconditionFailed:
                time.sleep(random.uniform(0, 0.1))

writers = []
for _ in range(processes):  # libraries are imported once; each process opens the store itself
    if (writer := os.fork()) == 0:
        status = 1
        try:
            random.seed()
            increment()
            status = 0
        finally:
            os._exit(status)
    writers.append(writer)
sys.exit(sum(os.waitpid(writer, 0)[1] != 0 for writer in writers))
"""


def test_sixteen_processes_lose_no_update(store: ObjectStore, request: pytest.FixtureRequest) -> None:
    processes, times = 16, 6
    store.create("pointer.json", json.dumps({"value": 0}).encode())
    endpoint = request.getfixturevalue("s3_server").endpoint if store.url.startswith("s3:") else ""
    command = [sys.executable, "-c", INCREMENT, store.url, endpoint, str(processes), str(times)]
    subprocess.run(command, check=True, timeout=240)
    assert json.loads(read(store, "pointer.json"))["value"] == processes * times


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/labelloop",
        "ftp://bucket",
        "https://user:word@host/x",
        "file://host/x",
        "file:relative",
        "s3://",
        "s3:///x",
        "gs://",
        "gs://user:word@bucket",
    ],
)
def test_unusable_urls_are_refused_without_repeating_secrets(url: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_STORE") as refusal:
        open_store(url)
    assert "word" not in str(refusal.value)


def test_the_folder_store_imports_no_clients_of_clouds(tmp_path: Path) -> None:
    program = (
        "import sys; from shared.objectstore import open_store; from shared.objectstore.selftest import ensure_checked;"
        "ensure_checked(open_store(sys.argv[1]));"
        "print([name for name in sys.modules if name.startswith(('boto', 'google.cloud.storage'))])"
    )
    command = [sys.executable, "-c", program, (tmp_path / "store").as_uri()]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_missing_library_is_named_with_the_extra_that_brings_it() -> None:
    program = (
        "import sys; sys.modules['google.cloud.storage'] = None\n"
        "from shared.errors import SettingsError; from shared.objectstore import open_store\n"
        "try: open_store('gs://bucket')\n"
        "except SettingsError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "google.cloud.storage" in told
    assert "pip install 'labelloop[gcs]'" in told
