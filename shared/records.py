"""What labelloop writes into the store: frozen records, and serials that never repeat."""

import secrets
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import StoreRefusal
from shared.objectstore import ObjectStore, Token


class Record(BaseModel):
    """What labelloop writes into the store: frozen, and read by programs that are older or newer than its writer.

    While an installation is upgraded both run side by side. A field that a program does not know decides nothing there,
    and goes along when the record is changed and written again (`model_copy`): an older trigger takes nothing out of
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


def new_serial() -> str:
    """A value that no other write has."""
    return secrets.token_hex(8)
