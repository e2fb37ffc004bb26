"""Common part of the bucket adapters: keys below a prefix, the store's clock, and writes whose response may be lost."""

import abc
import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random,
    wait_random_exponential,
)

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, SettingsError, StoreError
from shared.objectstore import Stored, Token, check_key
from shared.objectstore.temporary import temporary_file

ABSENT = Token("")
"""In place of a token: write only if the object does not exist."""

_CLOCK_MAX_AGE = 60.0  # seconds after which a new Date of the store is needed


class Refused(StoreError):
    """A condition may have failed (304, 409, 412), or was not checked (429): read the object to know."""


class Unavailable(StoreError):
    """Not reachable, overloaded or interrupted: a retry may succeed."""


class _Undecided(StoreError):
    """A write was refused although its condition holds: another write was running."""


_settled = retry(
    retry=retry_if_exception_type(_Undecided),
    wait=wait_exponential(0.1, max=2) + wait_random(0, 0.4),
    stop=stop_after_attempt(6),
    reraise=True,
)
"""Six attempts over at least 3 s: by then a store that takes one write a second for an object has taken one."""

persistent = retry(
    retry=retry_if_exception_type(Unavailable),
    wait=wait_random_exponential(0.25, max=4),
    stop=stop_after_attempt(6) | stop_after_delay(15),
    reraise=True,
)
"""For requests that the library does not retry by itself. A store that hangs fails after two read timeouts."""

_from_the_start = retry(
    retry=retry_if_exception_type(Unavailable),
    wait=wait_random_exponential(0.25, max=4),
    stop=stop_after_attempt(3),
    reraise=True,
)


class Sink(Protocol):
    """A writable object that receives an object's bytes in chunks."""

    def write(self, chunk: bytes, /) -> int:
        """Accept the whole chunk; returns its length."""


class BucketStore(abc.ABC):
    """Base of the object stores in a bucket, one subclass a protocol. `url` is `scheme://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError for a URL without bucket, or with credentials or a port. Makes no request."""
        parts = urlsplit(url)
        if not parts.netloc or "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
            raise SettingsError(
                f"LABELLOOP_STORE: a bucket is written {parts.scheme}://bucket/prefix, without credentials or port"
            )
        self.url = url
        self._bucket = parts.netloc
        self._prefix = f"{prefix}/" if (prefix := parts.path.strip("/")) else ""
        self._connecting = threading.Lock()
        self._connection: Any = None
        self._clock: tuple[datetime, float] | None = None  # Date of a response, time.monotonic() when it came

    @abc.abstractmethod
    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """See ObjectStore.get."""

    @abc.abstractmethod
    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""

    @abc.abstractmethod
    def list(self, prefix: str) -> Iterator[str]:
        """See ObjectStore.list."""

    @abc.abstractmethod
    def folders(self, folder: str) -> Iterator[str]:
        """See ObjectStore.folders."""

    @abc.abstractmethod
    def _connect(self) -> Any:
        """Make the library's client, which passes the Date of every response to `_note_date`."""

    @abc.abstractmethod
    def _write(self, key: str, data: bytes, condition: Token | None = None) -> Token:
        """Write, if there is a `condition` only if the object is in that state. Raises Refused, NotFound."""

    @abc.abstractmethod
    def _send(self, key: str, path: Path) -> None:
        """Write a file atomically, only if the object does not exist. Raises Refused, NotFound."""

    @abc.abstractmethod
    def _receive(self, key: str, sink: Sink) -> None:
        """Read an object of any size into `sink`. Raises NotFound, and Unavailable if the transfer breaks off."""

    @abc.abstractmethod
    def _exists(self, key: str) -> bool:
        """Whether the object exists, by a request that does not transfer it."""

    @abc.abstractmethod
    def _where(self) -> str:
        """Bucket and server, for messages."""

    @_settled
    def create(self, key: str, data: bytes) -> Token:
        """See ObjectStore.create."""
        try:
            return self._write(key, data, ABSENT)
        except Refused as refusal:
            found = self._find(key)
            if found is None:
                raise _Undecided(str(refusal)) from refusal
            if found.data != data:
                raise AlreadyExists(f"{self.url} already holds {key}") from refusal
            return found.token  # our own write, whose response was lost

    @_settled
    def replace(self, key: str, data: bytes, token: Token) -> Token:
        """See ObjectStore.replace."""
        try:
            return self._write(key, data, token)
        except (Refused, NotFound) as refusal:
            found = self._find(key)
            if found and found.data == data:
                return found.token  # our own write, whose response was lost
            if found and found.token == token:
                raise _Undecided(str(refusal)) from refusal
            raise PreconditionFailed(f"{key} in {self.url} {'was changed' if found else 'is gone'}") from refusal

    def put(self, key: str, data: bytes) -> Token:
        """See ObjectStore.put."""
        return self._write(key, data)

    @_settled
    def upload(self, key: str, path: Path) -> None:
        """See ObjectStore.upload."""
        try:
            self._send(key, path)
        except (Refused, NotFound) as refusal:  # NotFound: an upload in parts that was completed before
            same = self._holds(key, path)
            if same is None:
                raise _Undecided(str(refusal)) from refusal
            if not same:
                raise AlreadyExists(f"{self.url} already holds {key}") from refusal

    @_from_the_start
    def download(self, key: str, path: Path) -> None:
        """See ObjectStore.download."""
        try:
            with temporary_file(path.parent, f".{path.name}.") as file:
                self._receive(key, file)
                file.flush()
                os.replace(file.name, path)
        except OSError as error:
            raise StoreError(f"{error.filename or path}: {error.strerror or type(error).__name__}") from error

    def now(self) -> datetime:
        """See ObjectStore.now: the Date of the newest response (whole seconds) plus the time since then."""
        if (now := self._estimated_now()) is None:
            self._exists("labelloop/clock")  # any response has a Date
            now = self._estimated_now()
        if now is None:
            raise StoreError(f"{self._where()}: its responses have no Date, which labelloop needs as one clock for all")
        return now

    def _estimated_now(self) -> datetime | None:
        if self._clock is None:
            return None
        date, seen = self._clock
        age = time.monotonic() - seen
        return date + timedelta(seconds=age) if age < _CLOCK_MAX_AGE else None

    def _note_date(self, date: str | None) -> None:
        with suppress(ValueError):
            if date:
                self._clock = parsedate_to_datetime(date).astimezone(UTC), time.monotonic()

    def _refuse_present(self, key: str) -> None:
        """Raise Refused if the object exists, before a file is sent in parts: servers check at its end, or never."""
        if self._exists(key):
            raise Refused(f"{self.url} already holds {key}")

    def _find(self, key: str) -> Stored | None:
        try:
            return self.get(key)
        except NotFound:
            return None

    @_from_the_start
    def _holds(self, key: str, path: Path) -> bool | None:
        """Whether the object equals the file; None if there is no object."""
        with path.open("rb") as file:
            compared = _Compared(file)
            try:
                self._receive(key, compared)
            except NotFound:
                return None
            return compared.same and not file.read(1)

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    @property
    def _client(self) -> Any:
        with self._connecting:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection


class _Compared(io.RawIOBase):
    """A sink that compares what is written to it with a file."""

    def __init__(self, file: BinaryIO) -> None:
        self.same = True
        self._file = file

    def write(self, chunk: Any, /) -> int:
        self.same = self.same and self._file.read(len(chunk)) == chunk
        return len(chunk)
