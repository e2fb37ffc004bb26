"""A bucket of S3 in memory, with latency, limits, refusals and lost answers, behind the interface of boto3's client.

It is used by the real `S3Store`, so conditional writes, reads after a refusal and retries are the real code. Limits:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html; refusals:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html; retries: botocore's "standard" mode.
"""

import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from botocore.exceptions import ClientError, ConnectionClosedError

from bench.scale.clock import Clock, Core
from shared.objectstore import selftest
from shared.objectstore.s3 import S3Store

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
READS_A_SECOND, WRITES_A_SECOND = 5500, 3500  # of one prefix that S3 has not split yet; here of the whole bucket
GET_SECONDS, PUT_SECONDS, LIST_SECONDS = 0.015, 0.025, 0.060  # medians
_SPREAD, _TAIL, _TAIL_FACTOR = (
    0.35,
    0.005,
    8.0,
)  # sigma of the lognormal distribution; part of slow answers, and their factor
_LOST = 1e-4  # part of the answers that are lost
_ATTEMPTS = 3
_PAGE = 1000
CALL_CPU, PAGE_CPU = 0.0013, 0.015  # seconds of boto3 for a call and a page, measured with an empty server


class Bucket:
    """The objects, and counts of requests."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self.clock = clock
        self.random = random.Random(f"bucket {seed}")
        self.requests: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.writes_of: Counter[str] = Counter()
        self.busiest: Counter[str] = Counter()  # reads, writes → most in one second
        self.written: Callable[[str, bytes], None] = lambda _key, _data: None  # called for every write
        self._objects: dict[str, tuple[bytes, str]] = {}
        self._tree: dict[str, dict[str, bool]] = {}  # folder → name → whether that is a folder
        self._writing: Counter[str] = Counter()
        self._second, self._in_second = -1, Counter[str]()

    def admit(self, kind: str) -> bool:
        """Count a request; False: it is over the limit (503 SlowDown)."""
        second = int(self.clock.now)
        if second != self._second:
            self._second, self._in_second = second, Counter()
        limited = "reads" if kind in ("GET", "HEAD", "LIST") else "writes"
        self._in_second[limited] += 1
        self.requests[kind] += 1
        self.busiest[limited] = max(self.busiest[limited], self._in_second[limited])
        return self._in_second[limited] <= (READS_A_SECOND if limited == "reads" else WRITES_A_SECOND)

    def latency(self, median: float) -> float:
        """A random latency in seconds, with this median."""
        draw = self.random
        return median * draw.lognormvariate(0, _SPREAD) * (_TAIL_FACTOR if draw.random() < _TAIL else 1.0)

    def loses(self) -> bool:
        """Whether the answer to a request is lost; random."""
        return self.random.random() < _LOST

    def read(self, key: str) -> tuple[bytes, str] | None:
        """(bytes, ETag) of a key; None: not there."""
        return self._objects.get(key)

    def write(self, key: str, data: bytes) -> str:
        """Write an object; answers its ETag."""
        if key not in self._objects:
            self._grow(key)
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self._objects[key] = data, etag
        self.written(key, data)
        return etag

    def begin_write(self, key: str) -> bool:
        """Begin a write; answers whether it is the only one of this key."""
        self._writing[key] += 1
        self.writes_of[key] += 1
        return self._writing[key] == 1

    def end_write(self, key: str) -> None:
        """End a write."""
        self._writing[key] -= 1
        if not self._writing[key]:
            del self._writing[key]

    def delete(self, key: str) -> None:
        """Delete an object if it exists; its folders stay."""
        if self._objects.pop(key, None) is not None:
            folder, _, name = key.rpartition("/")
            del self._tree[folder][name]

    def folders(self, folder: str) -> list[str]:
        """The names of the folders directly below."""
        return [name for name, is_folder in self._tree.get(folder, {}).items() if is_folder]

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with `prefix`, unordered."""
        folder, _, start = prefix.rpartition("/")
        for name, is_folder in list(self._tree.get(folder, {}).items()):
            if name.startswith(start):
                path = f"{folder}/{name}" if folder else name
                yield from self.keys(f"{path}/") if is_folder else (path,)

    def _grow(self, key: str) -> None:
        folder, _, name = key.rpartition("/")
        self._tree.setdefault(folder, {})[name] = False
        while folder:
            path, (folder, _, name) = folder, folder.rpartition("/")
            names = self._tree.setdefault(folder, {})
            if names.get(name):
                return
            names[name] = True
            self._tree.setdefault(path, {})


Done = TypeVar("Done")


class Client:
    """boto3's client of one process, as far as S3Store uses it."""

    def __init__(self, bucket: Bucket, core: Core) -> None:
        self._bucket = bucket
        self._core = core
        self.objects = self.files = self  # S3Store has a client for each

    def get_object(self, *, Bucket: str, Key: str, IfNoneMatch: str | None = None) -> dict[str, Any]:  # noqa: ARG002, N803
        """See boto3; 404 and 304 are ClientErrors."""

        def get() -> dict[str, Any]:
            found = self._bucket.read(Key)
            if found is None:
                raise _refusal(404, "NoSuchKey", "GetObject")
            if found[1] == IfNoneMatch:
                raise _refusal(304, "NotModified", "GetObject")
            return {"Body": io.BytesIO(found[0]), "ETag": f'"{found[1]}"'}

        if Key == selftest.RESULT:  # read once by a process under a lock of real threads, so it must not block
            return get()
        return self._attempt("GET", GET_SECONDS, get)

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: ARG002, N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        """See boto3; 409: another write of the key is running, 412: the condition does not hold."""
        bucket = self._bucket

        def put() -> dict[str, Any]:
            alone = bucket.begin_write(Key)
            try:
                bucket.clock.sleep(bucket.latency(PUT_SECONDS / 2))
                found = bucket.read(Key)
                if not alone and (IfMatch or IfNoneMatch):
                    raise _refusal(409, "ConditionalRequestConflict", "PutObject")
                if IfMatch and found is None:
                    raise _refusal(404, "NoSuchKey", "PutObject")
                if (IfMatch and found and found[1] != IfMatch.strip('"')) or (IfNoneMatch and found):
                    raise _refusal(412, "PreconditionFailed", "PutObject")
                return {"ETag": f'"{bucket.write(Key, Body)}"'}
            finally:
                bucket.end_write(Key)

        return self._attempt("PUT", PUT_SECONDS / 2, put)

    def delete_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: ARG002, N803
        """See boto3; deleting nothing is no error."""

        def delete() -> dict[str, Any]:
            self._bucket.delete(Key)
            return {}

        return self._attempt("DELETE", PUT_SECONDS, delete)

    def get_paginator(self, _: str) -> "Client":
        """The paginator of list_objects_v2."""
        return self

    def paginate(self, *, Bucket: str, Prefix: str, Delimiter: str | None = None) -> Iterator[dict[str, Any]]:  # noqa: ARG002, N803
        """Pages of a thousand names, one request each."""
        names: list[str] | None = None
        start = 0
        while names is None or start < len(names):

            def page() -> list[str]:
                return self._bucket.folders(Prefix.rstrip("/")) if Delimiter else sorted(self._bucket.keys(Prefix))

            names = self._attempt("LIST", LIST_SECONDS, page)
            shown, start = names[start : start + _PAGE], start + _PAGE
            self._core.work(PAGE_CPU * len(shown) / _PAGE)
            if Delimiter:
                yield {"CommonPrefixes": [{"Prefix": f"{Prefix}{name}/"} for name in shown]}
            else:
                yield {"Contents": [{"Key": name} for name in shown]}

    def _attempt(self, kind: str, median: float, act: Callable[[], Done]) -> Done:
        """One call of boto3, repeated after a 503 or a lost answer with growing random pauses."""
        bucket = self._bucket
        for attempt in range(_ATTEMPTS):
            self._core.work(CALL_CPU, then=bucket.latency(median / 2))
            admitted = bucket.admit(kind)
            error: Exception = _refusal(503, "SlowDown", kind)
            if admitted:
                try:
                    answer = act()
                except ClientError as refusal:
                    bucket.answers[refusal.response["ResponseMetadata"]["HTTPStatusCode"]] += 1
                    bucket.clock.sleep(bucket.latency(median / 2))
                    self._core.check()
                    raise
            bucket.clock.sleep(bucket.latency(median / 2))
            self._core.check()
            if admitted and not bucket.loses():
                bucket.answers[200] += 1
                return answer
            if admitted:
                error = ConnectionClosedError(endpoint_url="https://s3.example")
            bucket.answers[0 if admitted else 503] += 1
            if attempt < _ATTEMPTS - 1:
                bucket.clock.sleep(min(bucket.random.random() * 2**attempt, 20))
        raise error


class SimulatedStore(S3Store):
    """The real S3Store with the simulated client and clock."""

    def __init__(self, bucket: Bucket, core: Core) -> None:
        super().__init__("s3://labelloop")
        self._simulated = Client(bucket, core)
        self._now = bucket.clock.monotonic

    @property
    def _client(self) -> Any:
        return self._simulated

    def now(self) -> datetime:
        """See ObjectStore.now."""
        return EPOCH + timedelta(seconds=self._now())


def _refusal(status: int, code: str, operation: str) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)
