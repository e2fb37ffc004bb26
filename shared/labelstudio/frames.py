"""Label Studio's frame numbers. They follow the `frameRate` of its video tag, not the frame rate of the file. Pure.

Frames are numbered from 1. Source: Label Studio's editor/src/tags/object/Video/Video.js and components/VideoCanvas.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.errors import ImageError
from shared.geometry.detections import Floats
from shared.labelstudio.task_values import value_of

DEFAULT_RATE = 24.0
MAX_FRAMES = 1_000_000
"""Eleven hours at 24 frames a second. A file of a few frames may claim that it lasts for years."""
_MAX_RATE = 1000.0  # frames a second; an absurd rate would make a huge number of frames
_SEEK = 0.002  # seconds that the editor adds when it seeks, so that rounding does not show the frame before


def frame_rate(written: str, data: Mapping[str, Any]) -> float:
    """Label Studio's frames a second. `written`: the attribute; "$fps" is a path in the task's data."""
    try:
        return parse_rate(value_of(written, data))
    except LookupError:
        return DEFAULT_RATE


def parse_rate(found: object) -> float:
    """A frameRate as Label Studio reads it: 24 if it is invalid; a value below 1 is seconds a frame."""
    try:
        rate = float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_RATE
    if 0.0 < rate < 1.0:
        rate = 1.0 / rate
    return rate if 1.0 <= rate <= _MAX_RATE else DEFAULT_RATE


def frame_count(duration: float, rate: float) -> int:
    """Label Studio's number of frames for a video of `duration` seconds, at least 1. Raises ImageError (too_large)."""
    count = max(math.floor(duration * rate + 0.5), 1)
    if count > MAX_FRAMES:
        raise ImageError(
            "too_large",
            f"{duration:.0f} seconds are {count} frames at {rate:g} a second, more than {MAX_FRAMES}: set a lower "
            "frameRate of the <Video> tag",
        )
    return count


def seconds_of(frames: Any, rate: float) -> Floats:
    """(N,) frame numbers → (N,) times in seconds to which the editor seeks in order to show these frames."""
    return (np.asarray(frames, dtype=np.float64) - 1.0) / rate + _SEEK
