"""Where a network looks at a large picture: at each of its tiles, and at the whole of it."""

from typing import NamedTuple

from shared.geometry.tiles import Tiling, windows
from shared.inference.engine import Pixels


class Look(NamedTuple):
    """A part of a picture, or the whole."""

    rows: slice  # of the image as it was decoded
    columns: slice
    place: tuple[int, int, int, int]  # the same as x1, y1, x2, y2 in pixels of the picture

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the picture."""
        return self.place[3] - self.place[1], self.place[2] - self.place[0]

    def of(self, image: Pixels) -> Pixels:
        """What is to be seen there: a view of the image, which is not copied."""
        return image[self.rows, self.columns]


def looks_at(decoded: tuple[int, int], size: tuple[int, int], tiling: Tiling) -> list[Look]:
    """The tiles of a picture, row by row, and the whole of it at last. Both sizes: height, width.

    `decoded`: of the image, which may have fewer pixels than the picture. Tiles begin at whole pixels of it.
    """
    (height, width), (rows, columns) = size, decoded
    found = []
    for left, top, right, bottom in windows(width, height, tiling).tolist():
        x, x1, x2 = _span(left, right, width, columns)
        y, y1, y2 = _span(top, bottom, height, rows)
        found.append(Look(y, x, (x1, y1, x2, y2)))
    return [*found, Look(slice(0, rows), slice(0, columns), (0, 0, width, height))]


def _span(begin: int, end: int, length: int, decoded: int) -> tuple[slice, int, int]:
    """A part of one side of a picture in pixels of the image; and where that begins and ends in the picture."""
    scale = length / decoded
    count = min(round((end - begin) / scale), decoded)
    first = min(round(begin / scale), decoded - count)
    last = first + count
    return slice(first, last), round(first * scale), length if last == decoded else round(last * scale)
