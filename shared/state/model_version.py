"""The model_version that Label Studio sees: `label:v12`, for several controls `label:v12+poly:v3`."""

from collections.abc import Iterable
from pathlib import Path


def stamp(versions: Iterable[tuple[str, str]]) -> str:
    """The model_version of (control, version) pairs: `label:v12+poly:v3`."""
    return "+".join(f"{control}:{version}" for control, version in versions) or "none"


def base_version(base_weights: str) -> str:
    """The version of a control before its first training: `base-yolo11n`."""
    return f"base-{Path(base_weights).stem}"
