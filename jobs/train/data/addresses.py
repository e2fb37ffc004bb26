"""How a snapshot stores the address of an image. Pure."""

import hashlib
import re

_REFERENCE = re.compile(r"inline:sha256:([0-9a-f]{64})")


def reference(value: str) -> str:
    """The value itself; for an image inside the task's data (`data:image/…`) its SHA-256.

    So that a run's snapshot does not hold a copy of every such image.
    """
    if value.lstrip()[:5].lower() != "data:":
        return value
    return f"inline:sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"


def digest_of(value: object) -> bytes | None:
    """The 32 bytes of the SHA-256 in what `reference` answered for a `data:` image; None for every other value."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return bytes.fromhex(found[1]) if found else None
