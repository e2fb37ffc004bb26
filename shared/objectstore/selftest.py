"""Checks that a store honours conditional writes before it is used: some stores silently ignore the conditions.

Expected behaviour: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
"""

import json
import logging
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, StoreError, UnsafeStore
from shared.objectstore import ObjectStore, Token

logger = logging.getLogger(__name__)

_WRITERS = 8
RESULT = "labelloop/selftest.json"
"""Key of the record that a store passed."""


def ensure_checked(store: ObjectStore) -> None:
    """Run `check_store` unless it passed before; a pass is recorded in the store. Raises UnsafeStore, StoreError."""
    try:
        store.get(RESULT)
    except NotFound:
        check_store(store)
        store.put(RESULT, json.dumps({"passed_at": store.now().isoformat()}).encode())


def check_store(store: ObjectStore) -> None:
    """Try conditional writes in a new folder of the store, then remove it.

    Raises UnsafeStore, with what the store did wrong, and StoreError if the store fails.
    """
    folder = f"labelloop/selftest/{secrets.token_hex(8)}"
    keys = {name: f"{folder}/{name}" for name in ("create", "replace", "missing", "creates", "replaces")}
    try:
        _check_create(store, keys["create"])
        _check_replace(store, keys["replace"])
        _check_replace_of_nothing(store, keys["missing"])
        _check_concurrent_creates(store, keys["creates"])
        _check_concurrent_replaces(store, keys["replaces"])
    finally:
        _remove(store, list(keys.values()))


def _check_create(store: ObjectStore, key: str) -> None:
    store.create(key, b"first")
    if _won(lambda: store.create(key, b"second")) or _read(store, key) != b"first":
        raise _unsafe(store, "it let `create` overwrite an object (If-None-Match is ignored)")


def _check_replace(store: ObjectStore, key: str) -> None:
    stale = store.create(key, b"first")
    store.replace(key, b"second", stale)
    if _read(store, key) != b"second":
        raise _unsafe(store, "it returned the old bytes right after a `replace`")
    if _won(lambda: store.replace(key, b"third", stale)) or _read(store, key) != b"second":
        raise _unsafe(store, "it let `replace` overwrite a newer object (If-Match is ignored)")


def _check_replace_of_nothing(store: ObjectStore, key: str) -> None:
    token = store.create(key, b"first")
    store.delete(key)
    if _won(lambda: store.replace(key, b"second", token)):
        raise _unsafe(store, "it let `replace` write an object that was deleted (If-Match is ignored)")


def _check_concurrent_creates(store: ObjectStore, key: str) -> None:
    _check_one_winner(store, key, "create", lambda data: store.create(key, data))


def _check_concurrent_replaces(store: ObjectStore, key: str) -> None:
    token = store.create(key, b"first")
    _check_one_winner(store, key, "replace", lambda data: store.replace(key, data, token))


def _check_one_winner(store: ObjectStore, key: str, verb: str, write: Callable[[bytes], Token]) -> None:
    bodies = [f"writer {number}".encode() for number in range(_WRITERS)]
    together = threading.Barrier(_WRITERS)

    def compete(data: bytes) -> bool:
        together.wait()
        return _won(lambda: write(data))

    with ThreadPoolExecutor(_WRITERS) as writers:
        winners = [body for body, won in zip(bodies, writers.map(compete, bodies), strict=True) if won]
    if len(winners) != 1:
        raise _unsafe(store, f"of {_WRITERS} writers that used `{verb}` at the same time {len(winners)} won")
    if _read(store, key) != winners[0]:
        raise _unsafe(store, f"of {_WRITERS} writers that used `{verb}` at the same time the bytes of a loser stayed")


def _won(write: Callable[[], Token]) -> bool:
    try:
        write()
    except (AlreadyExists, PreconditionFailed):
        return False
    return True


def _read(store: ObjectStore, key: str) -> bytes:
    stored = store.get(key)
    return stored.data if stored else b""


def _unsafe(store: ObjectStore, what: str) -> UnsafeStore:
    return UnsafeStore(
        f"{store.url} must not be used: {what}. Two writers would overwrite each other; set LABELLOOP_STORE to "
        "a store with conditional writes, such as AWS S3, Google Cloud Storage, Ceph, SeaweedFS or a local folder"
    )


def _remove(store: ObjectStore, keys: list[str]) -> None:
    for key in keys:
        try:
            store.delete(key)
        except StoreError as error:
            logger.warning(str(error), extra={"event": "selftest_not_removed", "key": key})
