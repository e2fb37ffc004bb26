"""Objects in a bucket of Google Cloud Storage, with google-cloud-storage.

The token is the object's generation: https://cloud.google.com/storage/docs/request-preconditions. Google accepts about
one write a second for one object and answers 429 to more (https://cloud.google.com/storage/docs/gcs429): these are
retried with growing pauses. Credentials are Google's application default ones; STORAGE_EMULATOR_HOST names an emulator.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from google.cloud.storage import Client
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import Response
from requests.adapters import HTTPAdapter

from shared.errors import NotFound
from shared.objectstore import Stored, Token
from shared.objectstore.bucket import ABSENT, BucketStore, Refused, Sink, persistent
from shared.objectstore.gcs_errors import FOREIGN, TooOften, no_such_bucket, translate

_TIMEOUT = (3, 10)  # seconds to connect, and between two bytes of the response
_FILE_TIMEOUT = (3, 60)
_IN_ONE = 8 << 20  # bytes; the library sends a larger file in parts
_PART = 16 << 20  # bytes; kept in memory, and sent again if an upload is interrupted
_CONNECTIONS = 64
_CONTENT_TYPE = "application/octet-stream"


class GCSStore(BucketStore):
    """The object store in a bucket. `url` is `gs://bucket/prefix`."""

    @persistent
    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """See ObjectStore.get."""
        known = None if if_changed_from is None else int(if_changed_from)
        try:
            with self._translated(f"reading {key}"):
                blob = self._blob(key)
                # The library's own retry would resume in the middle of an object that may have been replaced.
                data = blob.download_as_bytes(if_generation_not_match=known, timeout=_TIMEOUT, retry=None)
        except Refused:  # 304
            return None
        stored = Stored(data, _token(blob))
        return None if stored.token == if_changed_from else stored

    @persistent
    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        with suppress(NotFound), self._translated(f"deleting {key}"):
            self._blob(key).delete(timeout=_TIMEOUT, retry=None)

    def list(self, prefix: str) -> Iterator[str]:
        """See ObjectStore.list."""
        names, _ = self._listed(f"listing {prefix}", fields="items(name),nextPageToken", prefix=self._prefix + prefix)
        yield from sorted(name[len(self._prefix) :] for name in names)

    def folders(self, folder: str) -> Iterator[str]:
        """See ObjectStore.folders."""
        prefix = self._key(folder) + "/"
        _, found = self._listed(f"listing {folder}", fields="prefixes,nextPageToken", prefix=prefix, delimiter="/")
        yield from sorted(name[len(prefix) : -1] for name in found)

    @persistent
    def _listed(self, doing: str, **query: str) -> tuple[set[str], set[str]]:
        """(names of objects, names of folders if `query` has a delimiter)."""
        try:
            with self._translated(doing):
                blobs = self._client.list_blobs(self._bucket, timeout=_TIMEOUT, retry=None, **query)
                return {blob.name for blob in blobs}, set(blobs.prefixes)
        except NotFound as error:
            raise no_such_bucket(doing, self._where()) from error

    @persistent
    def _write(self, key: str, data: bytes, condition: Token | None = None) -> Token:
        generation = None if condition is None else 0 if condition == ABSENT else int(condition)
        blob = self._blob(key)
        try:
            with self._translated(f"writing {key}"):
                blob.upload_from_string(
                    data,
                    content_type=_CONTENT_TYPE,
                    if_generation_match=generation,
                    timeout=_TIMEOUT,
                    retry=None,
                )
        except NotFound as error:
            raise no_such_bucket(f"writing {key}", self._where()) from error
        except TooOften as error:
            if condition is None:
                raise
            raise Refused(str(error)) from error  # another writer was first: read the object before a retry
        return _token(blob)

    def _send(self, key: str, path: Path) -> None:
        # The library compares checksums at the end, and deletes an object that was damaged in transfer.
        with self._translated(f"writing {key}"), path.open("rb") as body:
            size = path.stat().st_size
            if size > _IN_ONE:
                self._refuse_present(key)
            self._blob(key, chunk_size=_PART).upload_from_file(
                body,
                size=size,
                content_type=_CONTENT_TYPE,
                if_generation_match=0,
                timeout=_FILE_TIMEOUT,
                retry=DEFAULT_RETRY.with_delay(initial=0.5, maximum=10).with_timeout(60),
            )

    def _receive(self, key: str, sink: Sink) -> None:
        # The library's own retry would resume a download without checking its checksum.
        with self._translated(f"reading {key}"):
            self._blob(key).download_to_file(sink, timeout=_FILE_TIMEOUT, retry=None)

    @persistent
    def _exists(self, key: str) -> bool:
        try:
            with self._translated(f"asking for {key}"):
                self._blob(key).reload(timeout=_TIMEOUT, retry=None)
        except NotFound:
            return False
        return True

    def _blob(self, key: str, chunk_size: int | None = None) -> Any:
        name = self._key(key)
        return self._client.bucket(self._bucket).blob(name, chunk_size=chunk_size)

    def _where(self) -> str:
        return f"bucket {self._bucket!r} of Google Cloud Storage"

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn errors of the library, and of the local file, into StoreErrors."""
        try:
            yield
        except FOREIGN as error:
            # The URL of a running upload is a credential: keep it out of tracebacks too.
            raise translate(error, doing, self._where()) from (None if "upload_id" in str(error) else error)

    def _connect(self) -> Any:
        with self._translated("connecting"):
            client = Client(project=None)  # objects need no project
        # Used for traces only, and would ask for the bucket after every 404 of an object.
        client._bucket_metadata_cache = None
        session = client._http
        if not session.is_mtls:
            session.mount("https://", HTTPAdapter(pool_maxsize=_CONNECTIONS))
            session.mount("http://", HTTPAdapter(pool_maxsize=_CONNECTIONS))
        session.hooks["response"].append(self._note_answer)
        return client

    def _note_answer(self, response: Response, **_: object) -> None:
        self._note_date(response.headers.get("Date"))


def _token(blob: Any) -> Token:
    return Token(str(blob.generation))
