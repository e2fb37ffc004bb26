"""What labelloop writes into the store: frozen records, and serials that never repeat."""

import secrets

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """What labelloop writes into the store: frozen, and nothing in it is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """The bytes that are stored."""
        return self.model_dump_json(indent=1).encode()


def new_serial() -> str:
    """A value that no other write has."""
    return secrets.token_hex(8)
