"""Ids of regions. Label Studio's editor knows a region by its id alone: one that two answers share is moved by both."""

import secrets
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

_BYTES = 8
"""Random ones of an id: eleven characters, about as many as the editor's own ids have."""


def with_own_ids(result: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same items under ids that no other answer has: items of one region, and what it is the parent of, keep on
    belonging together.
    """
    own: defaultdict[str, str] = defaultdict(lambda: secrets.token_urlsafe(_BYTES))
    return [item | {key: own[item[key]] for key in ("id", "parentID") if key in item} for item in result]
