"""Objects in a bucket of S3, or of a compatible server, with boto3.

Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. Servers differ: ETags
are sent without quotes (Ceph refuses quoted ones), and 404, 409 and 412 all mean that the condition may have failed.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import boto3.session
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import NotFound, SettingsError
from shared.objectstore import Stored, Token
from shared.objectstore.bucket import ABSENT, BucketStore, Refused, Sink, Unavailable
from shared.objectstore.s3_errors import translate

_PART = 64 << 20  # bytes; a file up to this size is sent in one request
_TIMEOUT = 10.0  # seconds between two bytes of the response
_FILE_TIMEOUT = 60.0


class _Clients(NamedTuple):
    """Clients of boto3: one for small objects and one for files, since a client has one timeout."""

    objects: Any
    files: Any


class S3Store(BucketStore):
    """The object store in a bucket. `url` is `s3://bucket/prefix`, `endpoint` an S3-compatible server (None: AWS)."""

    def __init__(self, url: str, endpoint: str | None = None) -> None:
        """Raises SettingsError for a URL without bucket, or with credentials or a port. Makes no request."""
        super().__init__(url)
        self._endpoint = endpoint

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """See ObjectStore.get."""
        condition = {} if if_changed_from is None else {"IfNoneMatch": if_changed_from}
        try:
            with self._translated(f"reading {key}"):
                answer = self._client.objects.get_object(Bucket=self._bucket, Key=self._key(key), **condition)
                stored = Stored(answer["Body"].read(), _token(answer))
        except Refused:  # 304
            return None
        return None if stored.token == if_changed_from else stored

    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        with suppress(NotFound), self._translated(f"deleting {key}"):
            self._client.objects.delete_object(Bucket=self._bucket, Key=self._key(key))

    def list(self, prefix: str) -> Iterator[str]:
        """See ObjectStore.list."""
        with self._translated(f"listing {prefix}"):
            pages = self._client.objects.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            keys = [entry["Key"][len(self._prefix) :] for page in pages for entry in page.get("Contents", ())]
        yield from sorted(keys)  # AWS sorts by bytes; SeaweedFS and directory buckets do not

    def folders(self, folder: str) -> Iterator[str]:
        """See ObjectStore.folders."""
        prefix = self._key(folder) + "/"
        with self._translated(f"listing {folder}"):
            pages = self._client.objects.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            found = [entry["Prefix"][len(prefix) : -1] for page in pages for entry in page.get("CommonPrefixes", ())]
        yield from sorted(found)

    def _write(self, key: str, data: bytes, condition: Token | None = None) -> Token:
        headers = {} if condition is None else {"IfNoneMatch": "*"} if condition == ABSENT else {"IfMatch": condition}
        with self._translated(f"writing {key}"):
            return _token(
                self._client.objects.put_object(Bucket=self._bucket, Key=self._key(key), Body=data, **headers)
            )

    def _send(self, key: str, path: Path) -> None:
        with self._translated(f"writing {key}"):
            if path.stat().st_size <= _PART:
                with path.open("rb") as body:
                    self._client.files.put_object(Bucket=self._bucket, Key=self._key(key), Body=body, IfNoneMatch="*")
                return
            self._refuse_present(key)  # Ceph 16.2 does not check the condition of a multipart upload
            config = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=4)
            with create_transfer_manager(self._client.files, config) as manager:
                manager.upload(str(path), self._bucket, self._key(key)).result()

    def _receive(self, key: str, sink: Sink) -> None:
        with self._translated(f"reading {key}"):
            body = self._client.files.get_object(Bucket=self._bucket, Key=self._key(key))["Body"]
            try:
                with body:
                    shutil.copyfileobj(body, sink, 1 << 20)
            except BotoCoreError as error:  # boto3 retries requests, not the reading of a response
                raise Unavailable(str(translate(error, f"reading {key}", self._where()))) from error

    def _exists(self, key: str) -> bool:
        try:
            with self._translated(f"asking for {key}"):
                self._client.objects.head_object(Bucket=self._bucket, Key=self._key(key))
        except NotFound:
            return False
        return True

    def _where(self) -> str:
        return f"bucket {self._bucket!r} at {self._endpoint or 'AWS'}"

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn errors of boto3, and of the local file, into StoreErrors."""
        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error, OSError) as error:
            raise translate(error, doing, self._where()) from error

    def _connect(self) -> _Clients:
        session = boto3.session.Session()
        return _Clients(*(self._new_client(session, timeout) for timeout in (_TIMEOUT, _FILE_TIMEOUT)))

    def _new_client(self, session: boto3.session.Session, read_timeout: float) -> Any:
        try:
            client: Any = session.client(
                "s3",
                endpoint_url=self._endpoint,
                config=Config(
                    connect_timeout=3,
                    read_timeout=read_timeout,
                    max_pool_connections=64,
                    retries={"mode": "standard", "total_max_attempts": 3},
                    # Some compatible servers refuse the newer checksums that are boto3's default.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path"} if self._endpoint else None,
                ),
            )
        except ValueError as error:
            raise SettingsError(f"LABELLOOP_S3_ENDPOINT={self._endpoint!r}: {error}") from error
        client.meta.events.register("after-call.s3", self._note_answer)
        # s3transfer has no option for conditions; every multipart upload of ours is a create.
        client.meta.events.register("provide-client-params.s3.CompleteMultipartUpload", _only_if_absent)
        return client

    def _note_answer(self, parsed: dict[str, Any], **_: object) -> None:
        self._note_date(parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))


def _only_if_absent(params: dict[str, Any], **_: object) -> None:
    params["IfNoneMatch"] = "*"


def _token(answer: dict[str, Any]) -> Token:
    return Token(answer["ETag"].strip('"'))
