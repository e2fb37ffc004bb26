"""Ids of regions. Label Studio's editor knows a region only by its id, so two predictions must not share ids."""

import secrets
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

_BYTES = 8
"""Random bytes of an id: eleven characters, about as long as the editor's own ids."""
SMART = "smart-"
"""Ids of regions that a smart tool drew begin so: Label Studio keeps a region's id when it is accepted and edited."""


def with_own_ids(result: Iterable[dict[str, Any]], prefix: str = "") -> list[dict[str, Any]]:
    """The items with new random ids after `prefix`. Equal ids stay equal, and `parentID` still names the parent."""
    own: defaultdict[str, str] = defaultdict(lambda: prefix + secrets.token_urlsafe(_BYTES))
    return [item | {key: own[item[key]] for key in ("id", "parentID") if key in item} for item in result]


def is_smart(region_id: object) -> bool:
    """Whether a region of an annotation was suggested by a smart tool."""
    return isinstance(region_id, str) and region_id.startswith(SMART)
