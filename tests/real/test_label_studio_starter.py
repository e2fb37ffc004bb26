"""infra/local/label_studio.py with the real program: start, tokens, kept data, end, and what it says when it fails."""

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from infra.local.label_studio import VENV, Account, LabelStudioServer, install, label_studio
from infra.local.processes import Child, StartError, choose_port


def test_starts_with_both_kinds_of_token_keeps_its_data_and_ends(tmp_path: Path) -> None:
    account = Account()
    said: list[str] = []
    with label_studio(tmp_path, account=account, say=said.append) as server:
        first = server.session().post(f"{server.url}/api/projects/", json={"title": "kept"}).json()
        refreshed = requests.post(
            f"{server.url}/api/token/refresh/", json={"refresh": server.personal_access_token()}, timeout=30
        ).json()
        bearer = {"Authorization": f"Bearer {refreshed['access']}"}
        seen = requests.get(f"{server.url}/api/projects/{first['id']}", headers=bearer, timeout=30).json()
        assert seen["title"] == "kept"
        assert server.account.password not in repr(server)
        assert server.token not in repr(server)
        with pytest.raises(StartError, match="is taken"):
            choose_port(int(server.url.rsplit(":", 1)[1]))
    assert server.process.exit_code is not None
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{server.url}/health", timeout=5)
    assert said

    with label_studio(tmp_path, account=account, say=said.append) as again:
        assert again.session().get(f"{again.url}/api/projects/{first['id']}").json()["title"] == "kept"


def test_serves_a_local_folder(server: LabelStudioServer) -> None:
    images = server.local_files / "images"
    images.mkdir()
    (images / "one.txt").write_text("one")
    session = server.session()
    project = session.post(f"{server.url}/api/projects/", json={"title": "files"}).json()
    storage = {"project": project["id"], "path": str(images), "use_blob_urls": True}
    made = session.post(f"{server.url}/api/storages/localfiles/", json=storage)
    assert made.status_code == 201, made.text
    assert session.get(f"{server.url}/data/local-files/?d=images/one.txt").text == "one"
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700


@pytest.fixture
def listens_to_ctrl_c() -> Iterator[None]:
    """A shell starts background commands deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_ends_when_its_user_is_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), label_studio(tmp_path) as server:
        signal.raise_signal(signal.SIGINT)
    assert server.process.exit_code is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(server.process.pid, 0)


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "label_studio.sqlite3").write_text("this is no database, it only lies where one should be")
    with (
        pytest.raises(StartError, match=r"ended with exit code 1(.|\n)*file is not a database"),
        label_studio(tmp_path),
    ):
        pass


def test_a_program_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        child = Child("sleeper", ["/bin/sh", "-c", "echo I sleep; sleep 60"], tmp_path / "log", environ={})
        try:
            with pytest.raises(StartError, match=r"sleeper did not answer .* within 1 s(.|\n)*I sleep"):
                child.wait_until_healthy(f"http://127.0.0.1:{silent.getsockname()[1]}/", 1, print)
        finally:
            child.stop()
    assert child.exit_code == -signal.SIGTERM


def test_install_does_nothing_where_all_is_there(tmp_path: Path) -> None:
    said: list[str] = []
    install(VENV, said.append)
    said.clear()
    install(VENV, said.append)
    assert said == []
