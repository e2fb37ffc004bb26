"""Records: the JSON objects that labelloop keeps in the store, how they are read, written and updated."""

import secrets
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_all,
    wait_random_exponential,
)

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, StoreRefusal
from shared.objectstore import ObjectStore, Token


class Record(BaseModel):
    """A frozen record. Its readers may be older or newer than its writer, while an installation is upgraded.

    A program ignores fields that it does not know, and keeps them when it changes the record and writes it again
    (`shared.evolve`): an older trigger removes nothing from `jobs.json` that a newer job keeps in it. Records within
    the record (claim, baseline) are made anew, without them. So a newer labelloop may add fields, whose default says
    what older writers meant, and words where the type is `str`; it never removes a field or changes its meaning. Files
    under `tests/records` check that.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    def to_json(self) -> bytes:
        """The record as it is stored: UTF-8 JSON."""
        return self.model_dump_json(indent=1).encode()


AnyRecord = TypeVar("AnyRecord", bound=Record)


def load(kind: type[AnyRecord], store: ObjectStore, key: str) -> tuple[AnyRecord, Token]:
    """Read one record and its token. Raises NotFound, and StoreRefusal if the bytes are no such record."""
    stored = store.get(key)
    assert stored is not None  # None means unchanged, and nothing was compared
    try:
        return kind.model_validate_json(stored.data), stored.token
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, problem["loc"])) or "body"
        raise StoreRefusal(
            f"{key} in {store.url} is no {kind.__name__} of this labelloop ({where}: {problem['msg']}): upgrade this "
            "program if a newer version wrote it, else bring back the object as it was"
        ) from error


def find(kind: type[AnyRecord], store: ObjectStore, key: str) -> tuple[AnyRecord | None, Token | None]:
    """As `load`; (None, None) if nothing is there."""
    try:
        return load(kind, store, key)
    except NotFound:
        return None, None


def write(store: ObjectStore, key: str, record: Record, token: Token | None) -> None:
    """Replace the record that was read with `token`; None: create. Raises PreconditionFailed if it changed since."""
    try:
        if token is None:
            store.create(key, record.to_json())
        else:
            store.replace(key, record.to_json(), token)
    except AlreadyExists as error:
        raise PreconditionFailed(str(error)) from error


def update(
    kind: type[AnyRecord],
    store: ObjectStore,
    key: str,
    change: Callable[[AnyRecord | None], AnyRecord | None],
    *,
    patience: float,
) -> AnyRecord | None:
    """Read a record, write what `change` makes of it, and answer the record that is stored.

    `change` gets None if nothing is there, answers None to leave it so, and is called again if somebody else wrote
    meanwhile. Raises PreconditionFailed after `patience` seconds of losing to others, and at least two tries.
    """
    written: list[AnyRecord] = []

    def once() -> AnyRecord | None:
        found, token = find(kind, store, key)
        if found in written:
            return found  # our own write, whose answer was lost
        changed = change(found)
        if changed is None:
            return found
        written.append(changed)
        write(store, key, changed, token)
        return changed

    return Retrying(
        retry=retry_if_exception_type(PreconditionFailed),
        wait=wait_random_exponential(0.02, max=1),
        stop=stop_all(stop_after_delay(patience), stop_after_attempt(2)),  # one write may have waited out an outage
        reraise=True,
    )(once)


def new_serial() -> str:
    """A value that no other write has: 16 random hex digits."""
    return secrets.token_hex(8)
