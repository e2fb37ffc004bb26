"""Objects in a bucket of S3, or of a server that speaks its protocol, by way of boto3.

Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. Servers differ: ETags
are sent without quotes (Ceph refuses quoted ones), and 404, 409 and 412 all mean that the condition may not have held.
"""

import functools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3.session
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, SettingsError, StoreError
from shared.objectstore import Stored, Token, check_key
from shared.objectstore.s3_errors import Refused, translate
from shared.objectstore.temporary import temporary_file

_PART = 64 << 20  # bytes; a file up to this size is sent in one request
_CLOCK_MAX_AGE = 60.0  # seconds for which this machine may count on from a Date of the store


class _Undecided(StoreError):
    """A write was refused although its condition holds: another write was under way."""


_settled = retry(
    retry=retry_if_exception_type(_Undecided),
    wait=wait_random_exponential(0.05, max=1),
    stop=stop_after_attempt(6),
    reraise=True,
)


class S3Store:
    """The object store in a bucket. `url` is `s3://bucket/prefix`, `endpoint` an S3-compatible server (None: AWS)."""

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        """Raises SettingsError for a URL without bucket, or with credentials in it. Touches no network."""
        parts = urlsplit(url)
        if not parts.netloc or "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
            raise SettingsError("LABELLOOP_STORE: a bucket is written s3://bucket/prefix, without credentials or port")
        self.url = url
        self._bucket = parts.netloc
        self._endpoint = endpoint
        self._prefix = f"{prefix}/" if (prefix := parts.path.strip("/")) else ""
        self._connecting = threading.Lock()
        self._clock: tuple[datetime, float] | None = None  # Date of an answer, time.monotonic() when it came

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """See ObjectStore.get."""
        condition = {} if if_changed_from is None else {"IfNoneMatch": if_changed_from}
        try:
            with self._translated(f"reading {key}"):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key), **condition)
                stored = Stored(answer["Body"].read(), _token(answer))
        except Refused:  # 304
            return None
        return None if stored.token == if_changed_from else stored

    @_settled
    def create(self, key: str, data: bytes) -> Token:
        """See ObjectStore.create."""
        try:
            return self._write(key, data, IfNoneMatch="*")
        except Refused as refusal:
            found = self._find(key)
            if found is None:
                raise _Undecided(str(refusal)) from refusal
            if found.data != data:
                raise AlreadyExists(f"{self.url} already holds {key}") from refusal
            return found.token  # our own write, whose answer was lost

    @_settled
    def replace(self, key: str, data: bytes, token: Token) -> Token:
        """See ObjectStore.replace."""
        try:
            return self._write(key, data, IfMatch=token)
        except (Refused, NotFound) as refusal:
            found = self._find(key)
            if found and found.data == data:
                return found.token  # our own write, whose answer was lost
            if found and found.token == token:
                raise _Undecided(str(refusal)) from refusal
            raise PreconditionFailed(f"{key} in {self.url} {'was changed' if found else 'is gone'}") from refusal

    def put(self, key: str, data: bytes) -> Token:
        """See ObjectStore.put."""
        return self._write(key, data)

    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        with suppress(NotFound), self._translated(f"deleting {key}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def list(self, prefix: str) -> Iterator[str]:
        """See ObjectStore.list."""
        with self._translated(f"listing {prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            keys = [entry["Key"][len(self._prefix) :] for page in pages for entry in page.get("Contents", ())]
        yield from sorted(keys)  # AWS sorts by bytes; SeaweedFS and directory buckets do not

    def folders(self, folder: str) -> Iterator[str]:
        """See ObjectStore.folders."""
        prefix = self._key(folder) + "/"
        with self._translated(f"listing {folder}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            found = [entry["Prefix"][len(prefix) : -1] for page in pages for entry in page.get("CommonPrefixes", ())]
        yield from sorted(found)

    @_settled
    def upload(self, key: str, path: Path) -> None:
        """See ObjectStore.upload."""
        try:
            with self._translated(f"writing {key}"):
                self._send(self._key(key), path)
        except (Refused, NotFound) as refusal:  # NotFound: a multipart upload that was completed before
            same = self._holds(key, path)
            if same is None:
                raise _Undecided(str(refusal)) from refusal
            if not same:
                raise AlreadyExists(f"{self.url} already holds {key}") from refusal

    def download(self, key: str, path: Path) -> None:
        """See ObjectStore.download."""
        with self._translated(f"reading {key}"):
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
            with body, temporary_file(path.parent, f".{path.name}.") as file:
                shutil.copyfileobj(body, file, 1 << 20)
                file.flush()
                os.replace(file.name, path)

    def now(self) -> datetime:
        """See ObjectStore.now: the Date of the store's newest answer (whole seconds), and the time since then."""
        if (now := self._counted_on()) is None:
            with suppress(NotFound), self._translated("asking for the time"):
                self._client.head_object(Bucket=self._bucket, Key=self._key("labelloop/clock"))
            now = self._counted_on()
        if now is None:
            raise StoreError(f"{self._where()}: the answers carry no Date, and claims need one clock for all")
        return now

    def _counted_on(self) -> datetime | None:
        if self._clock is None:
            return None
        date, seen = self._clock
        age = time.monotonic() - seen
        return date + timedelta(seconds=age) if age < _CLOCK_MAX_AGE else None

    def _write(self, key: str, data: bytes, **condition: str) -> Token:
        with self._translated(f"writing {key}"):
            return _token(self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=data, **condition))

    def _send(self, key: str, path: Path) -> None:
        if path.stat().st_size <= _PART:
            with path.open("rb") as body:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*")
            return
        config = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=4)
        with create_transfer_manager(self._client, config) as manager:
            manager.upload(str(path), self._bucket, key).result()

    def _find(self, key: str) -> Stored | None:
        try:
            return self.get(key)
        except NotFound:
            return None

    def _holds(self, key: str, path: Path) -> bool | None:
        """Whether the object has the bytes of the file; None if there is no object."""
        try:
            with self._translated(f"reading {key}"):
                body = self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
                with body, path.open("rb") as file:
                    return all(chunk == file.read(len(chunk)) for chunk in body.iter_chunks(1 << 20)) and not file.read(
                        1
                    )
        except NotFound:
            return None

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _where(self) -> str:
        return f"bucket {self._bucket!r} at {self._endpoint or 'AWS'}"

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn the errors of boto3, and of the local file beside it, into those of the port."""
        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error, OSError) as error:
            raise translate(error, doing, self._where()) from error

    @property
    def _client(self) -> Any:
        with self._connecting:
            return self._connected

    @functools.cached_property
    def _connected(self) -> Any:
        try:
            client = boto3.session.Session().client(
                "s3",
                endpoint_url=self._endpoint,
                config=Config(
                    connect_timeout=2,
                    read_timeout=20,
                    max_pool_connections=32,
                    retries={"mode": "standard", "total_max_attempts": 4},
                    # Newer checksums by default are refused by some compatible servers.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path"} if self._endpoint else None,
                ),
            )
        except ValueError as error:
            raise SettingsError(f"LABELLOOP_S3_ENDPOINT={self._endpoint!r}: {error}") from error
        client.meta.events.register("after-call.s3", self._note_date)
        # s3transfer knows no condition for uploads; every multipart upload of ours is a create.
        client.meta.events.register("provide-client-params.s3.CompleteMultipartUpload", _only_if_absent)
        return client

    def _note_date(self, parsed: dict[str, Any], **_: object) -> None:
        with suppress(KeyError, ValueError):
            date = parsedate_to_datetime(parsed["ResponseMetadata"]["HTTPHeaders"]["date"])
            self._clock = date.astimezone(UTC), time.monotonic()


def _only_if_absent(params: dict[str, Any], **_: object) -> None:
    params["IfNoneMatch"] = "*"


def _token(answer: dict[str, Any]) -> Token:
    return Token(answer["ETag"].strip('"'))
