"""What LABELLOOP_LAUNCHER may be: one table of schemes, each with the shape of its URL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote

LAUNCHERS = {
    "local": "local:",
    "aws-batch": "aws-batch://QUEUE/DEFINITION",
    "kubernetes": "kubernetes://NAMESPACE/TEMPLATE",
    "cloud-run": "cloud-run://PROJECT/REGION/JOB",
    "ray": "ray://HOST:PORT",
}
"""Scheme → shape. The adapter of a scheme, and the extra if it needs one, have the scheme's name."""

_OPTIONS = {"ray": ("gpus",)}


@dataclass(frozen=True, slots=True)
class LauncherUrl:
    """A launcher's URL in its parts: `aws-batch://gpu/train` is ("gpu", "train")."""

    scheme: str
    parts: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with one sentence. Parts may be percent-encoded (a definition's ARN holds a slash)."""
        scheme, colon, rest = text.partition(":")
        if not colon or scheme not in LAUNCHERS:
            raise ValueError(f"use one of {', '.join(LAUNCHERS.values())}")
        shape = LAUNCHERS[scheme]
        path, _, query = rest.partition("?")
        if "//" not in shape:
            if rest:
                raise ValueError(f"write {shape}, without anything behind it")
            return cls(scheme, ())
        parts = tuple(unquote(part) for part in path.removeprefix("//").split("/"))
        if not path.startswith("//") or len(parts) != shape.count("/") - 1 or not all(parts):
            raise ValueError(f"write {shape}")
        if "@" in path:
            raise ValueError(f"write {shape}, without a user name or password")
        options = dict(parse_qsl(query, keep_blank_values=True))
        known = _OPTIONS.get(scheme, ())
        for name in options:
            if name not in known:
                raise ValueError(f"{shape} knows no option {name!r}" + (f", but {', '.join(known)}" if known else ""))
        return cls(scheme, parts, options)
