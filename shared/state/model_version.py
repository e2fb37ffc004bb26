"""The model_version that Label Studio sees: `label:v12`, for several controls `label:v12+poly:v3`."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

_VERSION = "(?:v[1-9][0-9]*|base-[^:]+)"


def stamp(versions: Iterable[tuple[str, str]]) -> str:
    """The model_version of (control, version) pairs: `label:v12+poly:v3`."""
    return "+".join(f"{control}:{version}" for control, version in versions) or "none"


def base_version(base_weights: str) -> str:
    """The version of a control before its first training: `base-yolo11n`."""
    return f"base-{Path(base_weights).stem}"


def has_version(model_version: str) -> bool:
    """Whether a control of it was trained on the project; else all predictions are those of base weights."""
    return re.search(r":v[1-9][0-9]*(\+|$)", model_version) is not None


def newest_of(model_versions: Iterable[str], control: str) -> int:
    """The highest number of a control's versions that these name; 0 if none does."""
    one = re.compile(rf"(?:^|\+){re.escape(control)}:v([1-9][0-9]*)(?=\+|$)")
    return max((int(number) for version in model_versions for number in one.findall(version)), default=0)


def is_ours(model_version: str, controls: Collection[str]) -> bool:
    """Whether a model_version is of labelloop, for some of these controls: nobody else's predictions are removed."""
    if not controls:
        return False
    one = f"(?:{'|'.join(map(re.escape, controls))}):{_VERSION}"  # names of both may hold a plus sign
    return re.fullmatch(rf"{one}(?:\+{one})*", model_version) is not None
