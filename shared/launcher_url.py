"""Valid values of LABELLOOP_LAUNCHER: a table of schemes, each with the shape of its URL."""

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
"""Scheme → shape of the URL. A scheme's adapter, and the extra that it may need, have the scheme's name."""

_OPTIONS = {"ray": ("gpus",)}


@dataclass(frozen=True, slots=True)
class LauncherUrl:
    """A launcher's URL. The parts of `aws-batch://gpu/train` are ("gpu", "train")."""

    scheme: str
    parts: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL. Parts may be percent-encoded (the ARN of a definition holds a slash).

        Raises ValueError; its message says what to write.
        """
        scheme, colon, rest = text.partition(":")
        if not colon or scheme not in LAUNCHERS:
            raise ValueError(f"use one of {', '.join(LAUNCHERS.values())}")
        shape = LAUNCHERS[scheme]
        path, _, query = rest.partition("?")
        if "//" not in shape:
            if rest:
                raise ValueError(f"write {shape}, without anything after it")
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
