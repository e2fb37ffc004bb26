"""Masks of a segmentation network → outlines."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats, Ints, Outline
from shared.inference.letterbox import place_in

_AT_ONCE = 32  # masks that are traced together, which is faster; more would take memory


@dataclass(frozen=True, slots=True, eq=False)
class MixedMasks:
    """A `Masks`: an object's is where its mix of the prototypes is above 0, inside its box."""

    prototypes: NDArray[np.float32]  # (M, h, w), of what the network saw made smaller
    coefficients: NDArray[np.float32]  # (N, M)
    xyxy: Floats  # (N, 4) pixels of what the network saw
    seen: tuple[int, int]  # its height and width
    size: tuple[int, int]  # those of the picture

    @property
    def nbytes(self) -> int:
        """As `Masks.nbytes`."""
        return self.prototypes.nbytes + self.coefficients.nbytes + self.xyxy.nbytes

    def only(self, which: Ints) -> "MixedMasks":
        """As `Masks.only`."""
        return replace(self, coefficients=self.coefficients[which], xyxy=self.xyxy[which])

    def outlines(self) -> tuple[Outline, ...]:
        """As `Masks.outlines`."""
        from shared.geometry.outlines import STAIRS, masks_to_outlines

        corner, inner = place_in(self.seen, self.size)
        inside = np.ceil(np.clip(self.xyxy, np.tile(corner, 2), np.tile(corner + inner, 2))).astype(int)
        scale = np.array([self.size[1], self.size[0]]) / inner
        count, *small = self.prototypes.shape
        mixed = (self.coefficients @ self.prototypes.reshape(count, -1)).reshape(-1, *small)
        found: list[Outline] = []
        for first in range(0, len(mixed), _AT_ONCE):
            boxes = inside[first : first + _AT_ONCE]
            drawn = [_mask(logits, box, self.seen) for logits, box in zip(mixed[first:], boxes, strict=False)]
            traced = zip(masks_to_outlines(drawn, STAIRS), boxes[:, :2] - corner, strict=True)
            found += [tuple((ring + place) * scale for ring in rings) for rings, place in traced]
        return tuple(found)


def _mask(logits: NDArray[np.float32], box: Ints, seen: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) mixed prototypes of one object, and (4,) pixels of what was seen → the mask in this box.

    The same pixels as those of ultralytics' process_mask, which enlarges the whole image; here what is around the box
    is enlarged.
    """
    import cv2

    times = seen[0] // logits.shape[0]
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return np.zeros((1, 1), dtype=np.bool_)
    first = max(top // times - 1, 0), max(left // times - 1, 0)  # one more: pixels are blended with their neighbours
    around = logits[first[0] : -(-bottom // times) + 1, first[1] : -(-right // times) + 1]
    large = cv2.resize(around, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    down, across = first[0] * times, first[1] * times
    return np.asarray(large[top - down : bottom - down, left - across : right - across] > 0)
