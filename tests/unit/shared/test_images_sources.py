"""The sources that image values name, and files of a shared folder."""

import base64
import os
import tracemalloc
from pathlib import Path

import pytest

from shared.errors import ImageError
from shared.labelstudio.api import LabelStudio
from shared.media.sources import _UNESCAPED_AT_ONCE, Inline, Remote, SharedFile, locate, read_shared

STUDIO = LabelStudio("http://studio:8080/ls", "0" * 40)
LIMIT = "LABELLOOP_IMAGE_MAX_BYTES"


def located(
    value: object, *, studio: LabelStudio | None = STUDIO, task_id: int | None = 5, shared: bool = False
) -> object:
    return locate(value, task_id=task_id, label_studio=studio, shared=shared, max_bytes=100, limit=LIMIT)


@pytest.mark.parametrize(
    ("value", "url", "trusted"),
    [
        ("/data/upload/1/a.png", "http://studio:8080/ls/data/upload/1/a.png", True),
        ("/ls/data/upload/1/a.png", "http://studio:8080/ls/data/upload/1/a.png", True),
        ("/other/prefix/data/upload/1/a.png", "http://studio:8080/ls/data/upload/1/a.png", True),
        ("/data/local-files/?d=a%20b.png", "http://studio:8080/ls/data/local-files/?d=a%20b.png", True),
        ("/static/samples/sample.jpg", "http://studio:8080/ls/static/samples/sample.jpg", False),
        ("/data/upload/../../api/users", "http://studio:8080/ls/data/upload/../../api/users", False),
        ("http://studio:8080/ls/data/upload/1/a.png", "http://studio:8080/ls/data/upload/1/a.png", True),
        ("http://studio:8080/data/upload/1/a.png", "http://studio:8080/data/upload/1/a.png", False),
        ("http://studio/ls/data/upload/1/a.png", "http://studio/ls/data/upload/1/a.png", False),
        ("https://studio:8080/ls/data/upload/1/a.png", "https://studio:8080/ls/data/upload/1/a.png", False),
        ("http://studio:8080@evil.example/ls/data/upload/1", "http://studio:8080@evil.example/ls/data/upload/1", False),
        (
            "http://studio:8080\\@evil.example/ls/data/upload/1",
            "http://studio:8080\\@evil.example/ls/data/upload/1",
            False,
        ),
        (" https://photos.example/a.png?s=1 ", "https://photos.example/a.png?s=1", False),
    ],
)
def test_remote(value: str, url: str, trusted: bool) -> None:
    assert located(value) == Remote(url, trusted)


def test_storage_uri_is_encoded_as_label_studio_decodes_it() -> None:
    uri = "s3://bucket/ordner/ä ~?.png"
    found = located(uri)
    assert isinstance(found, Remote)
    assert found.trusted
    path, _, encoded = found.url.partition("?fileuri=")
    assert path == "http://studio:8080/ls/tasks/5/resolve/"
    assert base64.urlsafe_b64decode(encoded.replace("%3D", "=")).decode() == uri


def test_local_file_of_a_shared_folder() -> None:
    assert located("/ls/data/local-files/?d=in/a%20b.png", shared=True) == SharedFile("in/a b.png")
    assert located("/data/local-files/?d=in/a.png", shared=True, studio=None) == SharedFile("in/a.png")


def test_data_uri() -> None:
    assert located("data:image/png;base64,aGVsbG8=") == Inline(b"hello")
    assert located("data:image/svg+xml;charset=utf-8;base64,aGVsbG8%3D") == Inline(b"hello")


@pytest.mark.parametrize("between", ["\n", "\r\n", " ", "\t", "%0A", "%0d%0a", "%20"])
def test_a_data_uri_in_lines_is_read_as_browsers_do(between: str) -> None:
    assert located(f"data:image/png;base64,{between}aGVs{between}bG8={between}") == Inline(b"hello")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "unsupported"),
        (["http://a/b"], "unsupported"),
        ("", "unsupported"),
        ("a.png", "unsupported"),
        ("//photos.example/a.png", "unsupported"),
        ("file:///etc/passwd", "unsupported"),
        ("ftp://photos.example/a", "unsupported"),
        ("javascript:alert(1)", "unsupported"),
        ("C:\\a.png", "unsupported"),
        ("data:text/html;base64,aGVsbG8=", "unsupported"),
        ("data:image/svg+xml,<svg/>", "unsupported"),
        ("data:image/png;base64,not base64!", "broken"),
        ("data:image/png;base64,aGVsbG8", "broken"),
        ("data:image/png;base64," + base64.b64encode(bytes(101)).decode(), "too_large"),
        ("data:image/png;base64," + "A" * 10_000, "too_large"),
    ],
)
def test_refused_values(value: object, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        located(value)
    assert caught.value.reason == reason


def test_without_label_studio_or_task() -> None:
    for value in ("/data/upload/1/a.png", "s3://bucket/a.png"):
        with pytest.raises(ImageError, match="LABEL_STUDIO_URL"):
            located(value, studio=None)
    with pytest.raises(ImageError, match="task id"):
        located("gs://bucket/a.png", task_id=None)


class TestSharedFolder:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "root"
        (root / "in").mkdir(parents=True)
        (root / "in" / "a.png").write_bytes(b"inside")
        (tmp_path / "root-private").mkdir()
        for place in (tmp_path, tmp_path / "root-private"):
            (place / "secret.png").write_bytes(b"outside")
        return root

    @pytest.mark.parametrize("path", ["in/a.png", "/in/a.png", "in/../in/./a.png"])
    def test_inside(self, root: Path, path: str) -> None:
        assert read_shared(str(root), path, 100, LIMIT) == b"inside"

    def test_link_that_stays_inside(self, root: Path) -> None:
        (root / "link.png").symlink_to("in/a.png")
        assert read_shared(str(root), "link.png", 100, LIMIT) == b"inside"

    @pytest.mark.parametrize(
        "path", ["../secret.png", "in/../../secret.png", "../root-private/secret.png", "/../secret.png"]
    )
    def test_traversal(self, root: Path, path: str) -> None:
        with pytest.raises(ImageError) as caught:
            read_shared(str(root), path, 100, LIMIT)
        assert caught.value.reason == "refused"

    def test_links_that_lead_outside(self, root: Path) -> None:
        (root / "file.png").symlink_to(root.parent / "secret.png")
        (root / "folder").symlink_to(root.parent / "root-private")
        for path in ("file.png", "folder/secret.png"):
            with pytest.raises(ImageError) as caught:
                read_shared(str(root), path, 100, LIMIT)
            assert caught.value.reason == "refused"

    def test_root_may_itself_be_a_link(self, root: Path) -> None:
        (root.parent / "volume").symlink_to(root)
        assert read_shared(str(root.parent / "volume"), "in/a.png", 100, LIMIT) == b"inside"

    def test_what_is_no_file(self, root: Path) -> None:
        os.mkfifo(root / "pipe")
        (root / "loop").symlink_to("loop")
        for path, reason in [
            ("in", "refused"),
            ("pipe", "refused"),
            ("missing.png", "not_found"),
            ("in/a.png/b", "not_found"),
            ("a\0b", "unreachable"),
            ("loop", "unreachable"),
        ]:
            with pytest.raises(ImageError) as caught:
                read_shared(str(root), path, 100, LIMIT)
            assert (path, caught.value.reason) == (path, reason)

    def test_too_large(self, root: Path) -> None:
        assert read_shared(str(root), "in/a.png", 6, LIMIT) == b"inside"
        with pytest.raises(ImageError, match=LIMIT) as caught:
            read_shared(str(root), "in/a.png", 5, LIMIT)
        assert caught.value.reason == "too_large"


@pytest.mark.parametrize("shift", [-3, -2, -1, 0, 1])
def test_escapes_are_read_where_parts_of_a_long_value_meet(shift: int) -> None:
    data = bytes(range(256)) * 600
    written = base64.b64encode(data).decode()
    place = _UNESCAPED_AT_ONCE + shift
    text = f"data:image/png;base64,{written[:place]}%{ord(written[place]):02x}{written[place + 1 :]}"
    found = locate(text, task_id=1, label_studio=None, shared=False, max_bytes=len(data), limit=LIMIT)
    assert found == Inline(data)


def test_escapes_take_little_memory() -> None:
    written = base64.b64encode(bytes(60_000)).decode()
    text = "data:image/png;base64," + "".join(f"%{ord(one):02x}" for one in written)
    tracemalloc.start()
    try:
        locate(text, task_id=1, label_studio=None, shared=False, max_bytes=60_000, limit=LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 6 * len(text)
    finally:
        tracemalloc.stop()
