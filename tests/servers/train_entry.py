"""The training job as a process of its own, for tests that kill it: the real wiring around a store that can kill.

`python tests/servers/train_entry.py real|toy KILL_AT before|after`: KILL_AT is the number of the write to the store
that the process does not survive (0: none), or a part of its key. "toy" trains nothing and starts fast: no torch.
"""

import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jobs.train.__main__ import execute
from jobs.train.data.export import LabelStudioExporter
from jobs.train.data.fetching import fetching
from jobs.train.parts import Parts
from jobs.train.run import run
from shared.labelstudio.api import LabelStudio
from shared.logs import configure_logs
from shared.objectstore import ObjectStore, Stored, Token, open_store
from shared.settings import Settings
from shared.state.runs import TrainRequest
from tests.fakes.train_parts import ToyTrainer

Written = TypeVar("Written")


class KillingStore:
    """A store one of whose writes ends the process with SIGKILL, just before or just after it."""

    def __init__(self, store: ObjectStore, kill_at: str, moment: str) -> None:
        self._store = store
        self._kill_at = kill_at
        self._moment = moment
        self._lock = threading.Lock()
        self.url = store.url
        self._writes = 0

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        return self._store.get(key, if_changed_from)

    def create(self, key: str, data: bytes) -> Token:
        return self._deadly(key, self._store.create, key, data)

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        return self._deadly(key, self._store.replace, key, data, token)

    def put(self, key: str, data: bytes) -> Token:
        return self._deadly(key, self._store.put, key, data)

    def delete(self, key: str) -> None:
        self._deadly(key, self._store.delete, key)

    def list(self, prefix: str) -> Iterator[str]:
        return self._store.list(prefix)

    def folders(self, folder: str) -> Iterator[str]:
        return self._store.folders(folder)

    def upload(self, key: str, path: Path) -> None:
        self._deadly(key, self._store.upload, key, path)

    def download(self, key: str, path: Path) -> None:
        self._store.download(key, path)

    def now(self) -> datetime:
        return self._store.now()

    def _deadly(self, key: str, write: Callable[..., Written], *arguments: Any) -> Written:
        with self._lock:
            self._writes += 1
            dies = self._writes == int(self._kill_at) if self._kill_at.isdecimal() else self._kill_at in key
        if dies and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = write(*arguments)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def main(kind: str, kill_at: str, moment: str) -> int:
    """Run the job."""
    settings = Settings.from_environ(os.environ)
    configure_logs("INFO")
    request = TrainRequest.parse(settings.train_request or "")
    store = KillingStore(open_store(request.store), kill_at, moment)
    return execute(settings, request, store) if kind == "real" else _toy(settings, request, store)


def _toy(settings: Settings, request: TrainRequest, store: ObjectStore) -> int:
    label_studio = LabelStudio(settings.label_studio_url or "", "0" * 40)
    fetched = fetching(settings, label_studio, store, request.project_uid)
    parts = Parts(
        store=store,
        project_uid=request.project_uid,
        exporter=LabelStudioExporter(settings.label_studio_url or "", "0" * 40),
        images=fetched.images,
        videos=fetched.videos,
        trainer=ToyTrainer(epoch_seconds=0.05),
        settings=settings,
        folder=Path(settings.work_dir) / request.run_id,
        adopt=fetched.adopt,
    )
    return run(parts, request.run_id, nonce=secrets.token_hex(16))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
