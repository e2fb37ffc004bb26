"""Label Studio's frame numbers: it counts by the `frameRate` of its video tag, whatever rate the file itself has. Pure.

Frames are numbered from 1. As its editor does it (editor/src/tags/object/Video/Video.js, components/VideoCanvas).
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
"""Eleven hours at 24 a second. A file of a few frames may say that it lasts for years."""
_HIGHEST_RATE = 1000.0  # frames a second; a rate that nobody films with would make an endless number of frames
_SEEK = 0.002  # seconds that the editor adds when it seeks, so that a rounded time does not show the frame before


def frame_rate(written: str, data: Mapping[str, Any]) -> float:
    """Frames a second by which Label Studio counts. `written`: the attribute; "$fps" is a place in the task's data."""
    try:
        return readable_rate(value_of(written, data))
    except LookupError:
        return DEFAULT_RATE


def readable_rate(found: object) -> float:
    """What Label Studio reads of a frameRate. What it cannot read is 24; less than 1 is seconds a frame."""
    try:
        rate = float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_RATE
    if 0.0 < rate < 1.0:
        rate = 1.0 / rate
    return rate if 1.0 <= rate <= _HIGHEST_RATE else DEFAULT_RATE


def frame_count(duration: float, rate: float) -> int:
    """How many frames Label Studio sees in a video of `duration` seconds, at least 1. Raises ImageError: too_large."""
    count = max(math.floor(duration * rate + 0.5), 1)
    if count > MAX_FRAMES:
        raise ImageError(
            "too_large",
            f"{duration:.0f} seconds are {count} frames at {rate:g} a second, more than {MAX_FRAMES}: set a lower "
            "frameRate of the <Video> tag",
        )
    return count


def seconds_of(frames: Any, rate: float) -> Floats:
    """(N,) frame numbers → (N,) seconds of the video at which the editor takes the picture that it shows for them."""
    return (np.asarray(frames, dtype=np.float64) - 1.0) / rate + _SEEK
