"""What stands for the address of a picture in a run's frozen annotations. Pure."""

import hashlib
import re

_REFERENCE = re.compile(r"inline:sha256:([0-9a-f]{64})")


def reference(value: str) -> str:
    """Of a picture that stands in the task itself (`data:image/…`) the digest, else the value.

    Or each run would keep a copy of all of them in the store.
    """
    if value.lstrip()[:5].lower() != "data:":
        return value
    return f"inline:sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"


def digest_of(value: object) -> bytes | None:
    """The digest that stands for a picture; None for every other value."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return bytes.fromhex(found[1]) if found else None
