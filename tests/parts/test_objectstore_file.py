"""What only the folder store promises: crashes leave nothing visible, and the file system's refusals are sentences."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import StoreError, StoreRefusal
from shared.objectstore import ObjectStore, open_store

UPLOAD = """
import sys
from pathlib import Path
from shared.objectstore import open_store
open_store(sys.argv[1]).upload("files/weights.pt", Path(sys.argv[2]))
"""


def temporary_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "store" / ".labelloop" / "temporary").glob("*"))


@pytest.fixture
def killed_upload(file_store: ObjectStore, tmp_path: Path) -> Path:
    """The temporary file of a process that was killed in the middle of an upload."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-c", UPLOAD, file_store.url, str(pipe)])
    with pipe.open("wb") as source:
        source.write(b"x" * 200_000)
        source.flush()
        deadline = time.monotonic() + 30
        while not temporary_files(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    [left] = temporary_files(tmp_path)
    return left


def test_a_killed_upload_is_not_visible(file_store: ObjectStore, killed_upload: Path, tmp_path: Path) -> None:
    assert list(file_store.list("")) == []
    (tmp_path / "whole").write_bytes(b"whole")
    file_store.upload("files/weights.pt", tmp_path / "whole")
    stored = file_store.get("files/weights.pt")
    assert stored is not None
    assert stored.data == b"whole"


def test_what_a_killed_upload_left_goes_after_a_day(file_store: ObjectStore, killed_upload: Path) -> None:
    file_store.put("a", b"")
    assert killed_upload.exists(), "somebody may still write it"
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(killed_upload, (two_days_ago, two_days_ago))
    file_store.put("a", b"")
    assert not killed_upload.exists()


def test_locks_and_temporary_files_are_no_objects(file_store: ObjectStore, tmp_path: Path) -> None:
    file_store.create("a", b"x")
    assert list(file_store.list("")) == list(file_store.list("a")) == ["a"]
    assert list(file_store.list(".labelloop")) == []
    assert temporary_files(tmp_path) == []
    with pytest.raises(StoreError, match="locks"):
        file_store.get(".labelloop/locks/00")


def test_a_full_disk_leaves_the_old_object(file_store: ObjectStore, tmp_path: Path) -> None:
    file_store.put("a", b"old")
    program = (
        "import resource, signal, sys; from shared.objectstore import open_store;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "open_store(sys.argv[1]).put('a', b'x' * 2000)"
    )
    writer = subprocess.run(
        [sys.executable, "-c", program, file_store.url], capture_output=True, text=True, check=False
    )
    assert "StoreError" in writer.stderr.splitlines()[-1]
    assert str(tmp_path / "store") in writer.stderr.splitlines()[-1]
    stored = file_store.get("a")
    assert stored is not None
    assert stored.data == b"old"
    assert temporary_files(tmp_path) == []


def test_a_name_that_is_too_long_is_said(file_store: ObjectStore) -> None:
    with pytest.raises(StoreRefusal, match="too long for this file system"):
        file_store.create("x" * 300, b"")


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:  # root may write everywhere: /proc refuses even root
        store = open_store("file:///proc/labelloop")
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        store = open_store((tmp_path / "closed" / "store").as_uri())
    with pytest.raises(StoreError, match=r"/(proc|closed)"):
        store.create("a", b"")


def test_a_store_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = open_store((tmp_path / "file").as_uri())
    with pytest.raises(StoreError, match=str(tmp_path / "file")):
        store.create("a", b"")


def test_folders_with_odd_names_work(tmp_path: Path) -> None:
    store = open_store((tmp_path / "with space # and ü").as_uri())
    store.create("a", b"x")
    assert (tmp_path / "with space # and ü" / "a").read_bytes() == b"x"


def test_objects_are_as_readable_as_the_umask_says(file_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    file_store.create("a", b"x")
    assert (tmp_path / "store" / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_writers_hold_few_lock_files(file_store: ObjectStore, tmp_path: Path) -> None:
    for number in range(600):
        file_store.put(str(number), b"")
    assert len(list((tmp_path / "store" / ".labelloop" / "locks").iterdir())) <= 256


def test_a_folder_goes_with_its_last_object(file_store: ObjectStore, tmp_path: Path) -> None:
    """Or a project that was removed would be known for ever."""
    for key in ("projects/1.2/jobs.json", "projects/1.2/models/a/pointer.json", "projects/3.4/jobs.json"):
        file_store.put(key, b"")
    file_store.delete("projects/1.2/models/a/pointer.json")
    assert list(file_store.folders("projects/1.2")) == []
    file_store.delete("projects/1.2/jobs.json")
    assert list(file_store.folders("projects")) == ["3.4"]
    file_store.delete("projects/3.4/jobs.json")
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [".labelloop"]


def test_a_writer_wins_over_whoever_empties_its_folder(file_store: ObjectStore) -> None:
    def write_and_delete(name: str) -> None:
        for _ in range(60):
            file_store.put(f"a/b/{name}", b"x")
            file_store.delete(f"a/b/{name}")
        file_store.put(f"a/b/{name}", b"x")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write_and_delete, "abcd"))
    assert list(file_store.list("a/")) == [f"a/b/{name}" for name in "abcd"]


def test_a_folder_that_goes_while_it_is_made_is_made_again(
    file_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_store.put("a/x", b"x")
    file_store.delete("a/x")
    real = os.mkdir
    gone: list[Path] = []

    def mkdir(path: Path, mode: int = 0o777) -> None:
        if Path(path).name == "a" and not gone:
            gone.append(path)  # another process made it, and removes it before pathlib looks whether it is a folder
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        real(path, mode)

    monkeypatch.setattr(os, "mkdir", mkdir)
    file_store.put("a/y", b"y")
    assert gone
    assert list(file_store.list("a/")) == ["a/y"]
