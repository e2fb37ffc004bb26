"""Images are fetched once: by any run on this machine, and by any machine where the store keeps them."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jobs.train.data.annotations import ExportedTask
from jobs.train.data.fetching import Fetching, fetching
from jobs.train.data.image_cache import Folder, Kept
from jobs.train.data.snapshot import Snapshot, download, upload
from jobs.train.data.snapshot_writer import write_snapshot
from jobs.train.data.split import place_of
from shared.errors import ImageError, StoreError
from shared.labelstudio.api import LabelStudio, ProjectState
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.requests import ProjectCounters
from shared.media.fetch import Version
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.keeping import Keep
from shared.state.pruning import prune
from tests.fakes.stores import Around
from tests.fakes.train_parts import CONFIG, CREATED, UID, annotation, jpeg, rectangle, settings_for
from tests.servers.web_server import Handler, WebServer, web_server

UPLOAD, MARKED, PLAIN = "/data/upload/1/0a1b2c3d-a.jpg", "/data/local-files/?d=a.jpg", "/elsewhere/a.jpg"
INLINE = f"data:image/jpeg;base64,{base64.b64encode(jpeg(seed=7)).decode()}"


class Site:
    """Label Studio's file routes, and another site: what changes has an ETag or a date, or nothing."""

    def __init__(self) -> None:
        self.data, self.etag, self.modified = b"first", '"1"', ""
        self.statuses: list[int] = []  # of answers about the file that may change
        self.task: Any = {"data": {"image": INLINE}}

    def respond(self, asked: Handler) -> None:
        if asked.path.startswith("/api/tasks/"):
            asked.reply(200, json.dumps(self.task).encode(), Content_Type="application/json")
        elif asked.path.startswith("/data/local-files/"):
            known = asked.headers.get("If-None-Match"), asked.headers.get("If-Modified-Since")
            marks = {"ETag": self.etag, "Last_Modified": self.modified}
            unchanged = known in ((self.etag, None), (None, self.modified))
            self.statuses.append(304 if unchanged else 200)
            if unchanged:
                asked.reply(304)
            else:
                asked.reply(200, self.data, **{name: mark for name, mark in marks.items() if mark})
        else:
            asked.reply(200, self.data)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def web(site: Site) -> Iterator[WebServer]:
    with web_server(lambda asked: site.respond(asked)) as server:
        yield server


Start = Callable[..., Fetching]


@pytest.fixture
def start(web: WebServer, tmp_path: Path, file_store: ObjectStore) -> Start:
    """A job's fetchers: a new job at every call, by default on the same machine."""

    def begin(*, uid: str = UID, store: ObjectStore = file_store, **settings: Any) -> Fetching:
        made = settings_for(web.url, tmp_path, LABELLOOP_ALLOWED_PRIVATE_HOSTS="127.0.0.1", **settings)
        return fetching(made, LabelStudio(web.url, "0" * 40), store, uid)

    return begin


def get(job: Fetching, value: str, task_id: int = 1) -> bytes:
    return job.images.fetch(value, task_id=task_id, deadline=time.monotonic() + 60)


def asked(web: WebServer) -> list[str]:
    return [seen.path for seen in web.seen]


def test_an_upload_is_fetched_once_by_all_runs(start: Start, site: Site, web: WebServer) -> None:
    """39 tasks in 6 runs were 234 fetches."""
    for _ in range(6):
        job = start()
        assert {get(job, f"{UPLOAD}?task={number}") for number in range(39)} == {b"first"}
    assert len(web.seen) == 39


@pytest.mark.parametrize("mark", ["etag", "modified"])
def test_what_may_change_is_asked_for_by_its_version(start: Start, site: Site, web: WebServer, mark: str) -> None:
    if mark == "modified":
        site.etag, site.modified = "", "Thu, 01 Jan 2026 00:00:00 GMT"
    assert [get(start(), MARKED) for _ in range(3)] == [b"first"] * 3
    assert site.statuses == [200, 304, 304]
    site.data, site.etag, site.modified = b"second", site.etag and '"2"', site.modified and "later"
    assert [get(start(), MARKED) for _ in range(2)] == [b"second"] * 2
    assert site.statuses[3:] == [200, 304]


def test_what_has_no_version_is_fetched_by_each_run(start: Start, site: Site, web: WebServer) -> None:
    value = f"{web.url}{PLAIN}"
    assert get(start(), value) == b"first"
    site.data = b"second"
    assert get(start(), value) == b"second"


def test_nobody_gets_an_image_of_another_project(start: Start, web: WebServer) -> None:
    get(start(), UPLOAD)
    get(start(uid="2.2"), UPLOAD)
    assert len(web.seen) == 2, "Label Studio decides for each whether it may"


def test_a_damaged_file_is_fetched_again(start: Start, web: WebServer, tmp_path: Path) -> None:
    get(start(), UPLOAD)
    (kept,) = (tmp_path / "cache" / "images").iterdir()
    for damaged in (kept.read_bytes()[:-1], b"", b"{}\n", b"[]\nx", b'{"sha256": "", "odd": 1}\n'):
        kept.write_bytes(damaged)
        assert get(start(), UPLOAD) == b"first"
    assert len(web.seen) == 6


def test_a_cache_that_cannot_be_written_costs_nothing_but_fetches(start: Start, web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert get(start(), UPLOAD) == get(start(), UPLOAD) == b"first"
    assert len(web.seen) == 2


def test_none_is_kept_where_none_is_wanted(start: Start, web: WebServer, tmp_path: Path) -> None:
    for _ in range(2):
        get(start(LABELLOOP_IMAGE_CACHE_BYTES=0), UPLOAD)
    assert len(web.seen) == 2
    assert not (tmp_path / "cache").exists()


def test_the_folder_is_bounded_and_the_least_recently_used_go(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 20_000)
    kept = Kept(Version(etag="x"), os.urandom(1000))
    for number in range(40):
        folder.put(f"{number}", kept)
        os.utime(tmp_path / f"{number}", (number, number))
        folder.get("0")  # of all, the one that is used
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    assert folder.get("0") == kept
    assert folder.get("39") == kept
    assert folder.get("1") is None
    folder.put("large", Kept(Version(etag="x"), b"x" * 20_001))
    assert folder.get("large") is None


def test_two_processes_share_a_folder_that_is_too_small(tmp_path: Path) -> None:
    """Each of many threads has a cache of its own, as a process has: nobody gets other bytes than it asked for."""

    def use(number: int) -> None:
        folder = Folder(tmp_path, 3000)
        for step in range(40):
            key = str((number + step) % 7)
            folder.put(key, Kept(Version(fixed=True), key.encode() * 1000))
            found = folder.get(key)
            assert found is None or found.data == key.encode() * 1000

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * 3000


JOB = """
import sys
from jobs.train.data.fetching import fetching
from shared.state.jobs import Jobs
from shared.labelstudio.api import LabelStudio
from shared.objectstore import open_store
from shared.settings import Settings

url, folder, uid, value, count = sys.argv[1:]
settings = Settings.from_environ({"LABEL_STUDIO_URL": url, "LABELLOOP_CACHE_DIR": f"{folder}/cache"})
store = open_store(f"file://{folder}/store")
images = fetching(settings, LabelStudio(url, "0" * 40), store, uid).images
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    data = images.fetch(f"{value}?task={number}", task_id=number, deadline=float("inf"))
    print(len(data), data == bytes(len(data)), flush=True)
"""
"""A job's process: it fetches so many uploads once somebody says so, and says what came."""

UPLOADED = bytes(300_000)


def begun_job(web: WebServer, folder: Path, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", JOB, web.url, str(folder), UID, UPLOAD, str(count)]
    job = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    return job


def test_processes_share_the_folder_and_one_that_is_killed_harms_no_other(
    site: Site, web: WebServer, tmp_path: Path, start: Start
) -> None:
    """Each asks for what the other has not kept yet: each once, and none for who comes later."""
    site.data = UPLOADED
    jobs = [begun_job(web, tmp_path, 10) for _ in range(2)]
    for job in jobs:
        print(file=job.stdin, flush=True)
    killed, other = jobs
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.kill()  # in the middle of an image, or of keeping it
    said, _ = other.communicate(timeout=60)
    killed.communicate()
    assert said == f"{len(UPLOADED)} True\n" * 10
    assert len(web.seen) <= 2 * 10
    web.seen.clear()
    assert {get(start(), f"{UPLOAD}?task={number}") for number in range(10)} == {UPLOADED}
    assert web.seen == [], "what was kept is whole"


def test_a_process_that_is_killed_while_it_keeps_an_image_leaves_no_half_of_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from jobs.train.data.image_cache import Folder, Kept\n"
        "from shared.media.fetch import Version\n"
        "folder, kept = Folder(Path(sys.argv[1]), 10**9), Kept(Version(fixed=True), bytes(10_000_000))\n"
        "while True: folder.put('key', kept)"
    )
    place = tmp_path / "images"
    for _ in range(2):
        keeper = subprocess.Popen([sys.executable, "-c", code, str(place)])
        while not any(path.name.startswith(".") for path in (place.iterdir() if place.exists() else ())):
            assert keeper.poll() is None
        keeper.kill()
        keeper.wait()
        found = Folder(place, 10**9).get("key")
        assert found is None or found.data == bytes(10_000_000)
        for path in place.glob(".*"):
            os.utime(path, (0, 0))
    Folder(place, 10**9).put("other", Kept(Version(fixed=True), b"x"))
    assert not list(place.glob(".*")), "what nobody writes any more goes"


def test_another_machine_finds_them_in_the_store(start: Start, web: WebServer, tmp_path: Path) -> None:
    for number in range(3):
        settings = {"LABELLOOP_IMAGE_CACHE_IN_STORE": "true", "LABELLOOP_CACHE_DIR": tmp_path / f"machine {number}"}
        assert get(start(**settings), UPLOAD) == b"first"
    assert len(web.seen) == 1
    assert len(list((tmp_path / "machine 2" / "images").iterdir())) == 1, "and keeps them near"


def test_a_store_that_fails_costs_nothing_but_fetches(start: Start, web: WebServer, file_store: ObjectStore) -> None:
    class Fails(Around):
        def get(self, key: str, if_changed_from: Any = None) -> Any:
            raise StoreError("gone")

        def put(self, key: str, data: bytes) -> Any:
            raise StoreError("gone")

    settings = {"LABELLOOP_IMAGE_CACHE_IN_STORE": "true", "LABELLOOP_IMAGE_CACHE_BYTES": 0}
    assert get(start(store=Fails(file_store), **settings), UPLOAD) == b"first"


def test_images_that_no_task_names_leave_the_store(start: Start, file_store: ObjectStore) -> None:
    job = start(LABELLOOP_IMAGE_CACHE_IN_STORE="true")
    values = [f"{UPLOAD}?task={number}" for number in range(3)]
    for value in values:
        get(job, value)
    folder = keys.images(UID)
    assert job.image_key is not None
    kept = [f"{folder}/{job.image_key(value)}" for value in values]
    keep = Keep(runs=1, versions=1)
    assert prune(file_store, UID, keep) == [], "nobody said which are in use"
    prune(file_store, UID, keep, frozenset(kept[:2]))
    assert sorted(file_store.list("images/")) == sorted(kept[:2])


def inline_snapshot(file_store: ObjectStore, tmp_path: Path, job: Fetching, run_id: str) -> Snapshot:
    tasks = [ExportedTask(1, {"image": INLINE}, (annotation(1, [rectangle()]),))]
    counters = ProjectCounters(id=1, created_at=CREATED, label_config=CONFIG)
    snapshot = write_snapshot(
        tasks, ProjectState(counters, CREATED), parse_label_config(CONFIG), tmp_path / f"{run_id}.json",
        val_fraction=0.2, check=lambda: None, adopt=job.adopt,
    )  # fmt: skip
    return upload(snapshot, file_store, keys.run(UID, run_id, "dataset.json"))


def test_pictures_in_the_tasks_are_not_copied_into_each_run(
    start: Start, site: Site, web: WebServer, file_store: ObjectStore, tmp_path: Path
) -> None:
    for run_id in ("one", "two"):
        job = start()
        inline_snapshot(file_store, tmp_path, job, run_id)
        stored = download(file_store, keys.run(UID, run_id, "dataset.json"), tmp_path / "again.json")
        assert stored is not None
        assert stored.path.stat().st_size < 2000 < len(INLINE)
        (task,) = stored.tasks()
        (control,) = parse_label_config(CONFIG)
        assert place_of(task.file_of(control)) == place_of(INLINE), "it stays on its side of the split"
        assert get(start(), task.file_of(control)) == jpeg(seed=7)
    assert web.seen == [], "the export had them"
    elsewhere = start(LABELLOOP_CACHE_DIR=tmp_path / "elsewhere")
    assert [get(elsewhere, task.file_of(control)) for _ in range(2)] == [jpeg(seed=7)] * 2
    assert asked(web) == ["/api/tasks/1"]
    site.task = {"data": {"image": INLINE[:-8] + "AAAAAAAA", "deep": [{"x": 1}]}}
    with pytest.raises(ImageError, match="another image than when the run began") as caught:
        get(start(LABELLOOP_CACHE_DIR=tmp_path / "third"), task.file_of(control))
    assert caught.value.reason == "not_found"
