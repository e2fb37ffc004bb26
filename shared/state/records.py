"""What labelloop writes into the store: frozen records, how they are read and written, serials that never repeat."""

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
    """What labelloop writes into the store: frozen, and read by programs that are older or newer than its writer.

    While an installation is upgraded both run side by side. A field that a program does not know decides nothing there,
    and goes along when the record is changed and written again (`shared.evolve`): an older trigger takes nothing out of
    `jobs.json` that a newer job keeps in it. It ends with the record that it stands in: the next claim, baseline or
    manifest is made anew. So a newer version may add fields, whose default says what older writers meant, and words
    where the type is `str`; it never takes a field away, nor gives it another meaning. Files under `tests/records` hold
    it to that.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    def to_json(self) -> bytes:
        """The bytes that are stored."""
        return self.model_dump_json(indent=1).encode()


AnyRecord = TypeVar("AnyRecord", bound=Record)


def load(kind: type[AnyRecord], store: ObjectStore, key: str) -> tuple[AnyRecord, Token]:
    """Read one record. Raises NotFound, and StoreRefusal if the bytes are no such record."""
    stored = store.get(key)
    assert stored is not None  # nothing was compared, so it cannot be unchanged
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
    """As `load`; twice None if nothing is there."""
    try:
        return load(kind, store, key)
    except NotFound:
        return None, None


def write(store: ObjectStore, key: str, record: Record, token: Token | None) -> None:
    """Replace what was read with `token`; None: create. Raises PreconditionFailed if somebody else wrote since."""
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
    """Read, `change`, write if unchanged; again if somebody else wrote. Answers the record that is stored.

    `change` may be called several times; None leaves the record as it is. Raises PreconditionFailed after `patience`
    seconds of losing to others, and not before the second try.
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
    """A value that no other write has."""
    return secrets.token_hex(8)
