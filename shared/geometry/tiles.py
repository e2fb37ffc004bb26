"""Large pictures in tiles: where a network looks at them in their own pixels. Pure."""

from dataclasses import dataclass

import numpy as np

from shared.geometry.detections import Ints

LEAST_SIDE = 32
"""Pixels of the smallest tile: the smallest picture that networks are shown."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How pictures are cut. A picture that fits into one tile is not."""

    side: int  # pixels of a tile, which is a square
    overlap: int  # least pixels that neighbours share: an object that is no larger is whole in one of them

    def __post_init__(self) -> None:
        """Raises ValueError: without an overlap objects would be cut in two, with a large one tiles have no end."""
        if self.side < LEAST_SIDE or not 1 <= self.overlap <= self.side // 2:
            raise ValueError(
                f"tiles of {self.side} pixels that share {self.overlap}: a tile has {LEAST_SIDE} or more and shares "
                "from 1 to a half of them"
            )

    def cuts(self, width: int, height: int) -> bool:
        """Whether a picture of this size, in pixels, is larger than a tile."""
        return max(width, height) > self.side


def windows(width: int, height: int, tiling: Tiling) -> Ints:
    """(N, 4) x1, y1, x2, y2 in pixels of the picture: tiles that cover it, row by row, evenly spread.

    All have one size: the tile's, or the picture's where that is smaller. A picture that fits into a tile is one.
    """
    across, down = _starts(width, tiling), _starts(height, tiling)
    corners = np.array([(x, y) for y in down for x in across], dtype=np.int64)
    return np.hstack([corners, corners + np.array([min(tiling.side, width), min(tiling.side, height)])])


def _starts(length: int, tiling: Tiling) -> list[int]:
    """Where tiles begin along one side of a picture."""
    gaps = -(-max(length - tiling.side, 0) // (tiling.side - tiling.overlap))
    return [number * (length - tiling.side) // gaps for number in range(gaps + 1)] if gaps else [0]


def pixels_needed(longest: int, image_size: int, tiling: Tiling | None) -> int:
    """How many of the `longest` pixels of a picture's longer side are needed, so that no view of it is enlarged.

    `image_size`: pixels of the longer side of what a network sees.
    """
    if tiling is None or longest <= tiling.side:
        return image_size
    return max(image_size, -(-longest * image_size // tiling.side))
