"""One Label Studio for a whole test run: the first process that needs it starts it, the others use it too."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra.local.label_studio import Account, LabelStudioServer, label_studio
from infra.local.processes import only_one
from tests.servers.connected_projects import quiet

_STATE = "label-studio.json"


@contextmanager
def one_label_studio(folder: Path) -> Iterator[LabelStudioServer]:
    """The Label Studio of all processes that give the same folder; it serves `files` in it as local files.

    It may call private addresses. Who started it waits on leaving until no other uses it, and ends it. Raises
    StartError.
    """
    state = folder / _STATE
    with (folder / "users.lock").open("w") as users, ExitStack() as started:
        with only_one(folder / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if state.exists():
                server = _read(state)
            else:
                (files := folder / "files").mkdir(exist_ok=True)
                running = label_studio(folder / "data", local_files=files, say=quiet)
                server = started.enter_context(running)
                server.personal_access_token()  # now: two that ask at once would get one between them
                _write(state, server)
                started.callback(state.unlink)
                started.callback(fcntl.flock, users, fcntl.LOCK_EX)
        yield server


def local_files_of(server: LabelStudioServer) -> Path:
    """The folder that it serves as local files."""
    return server.folder.parent / "files"


def _write(state: Path, server: LabelStudioServer) -> None:
    account = server.account
    fields = {"url": server.url, "folder": str(server.folder), "pid": server.pid}
    login = {"username": account.username, "password": account.password, "token": account.token}
    state.write_text(json.dumps(fields | {"account": login}))


def _read(state: Path) -> LabelStudioServer:
    fields = json.loads(state.read_text())
    return LabelStudioServer(fields["url"], Account(**fields["account"]), Path(fields["folder"]), fields["pid"])
