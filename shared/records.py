"""What labelloop writes into the store: frozen records, and serials that never repeat."""

import secrets
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import StoreError
from shared.objectstore import ObjectStore, Token


class Record(BaseModel):
    """What labelloop writes into the store: frozen, and nothing in it is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """The bytes that are stored."""
        return self.model_dump_json(indent=1).encode()


AnyRecord = TypeVar("AnyRecord", bound=Record)


def load(kind: type[AnyRecord], store: ObjectStore, key: str) -> tuple[AnyRecord, Token]:
    """Read one record. Raises NotFound, and StoreError if the bytes are no such record."""
    stored = store.get(key)
    assert stored is not None  # nothing was compared, so it cannot be unchanged
    try:
        return kind.model_validate_json(stored.data), stored.token
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, problem["loc"])) or "body"
        raise StoreError(
            f"{key} in {store.url} is no {kind.__name__} of this labelloop ({where}: {problem['msg']}); "
            "was it written by a newer version?"
        ) from error


def new_serial() -> str:
    """A value that no other write has."""
    return secrets.token_hex(8)
