"""Label Studio's run-length code of masks: bits of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.

It codes the bytes red, green, blue, alpha of every pixel of the image. Header: 32 bits number of bytes, 5 bits size of
a word − 1, four times 4 bits sizes of a count − 1. Then runs: a bit (1: one word that is repeated, 0: different words),
2 bits that say which size the count has, count − 1, and the word or words.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.geometry import Ints

_COUNT_BITS = np.array([3, 4, 8, 16])
_HEADER_BITS = 32 + 5 + 4 * 4
_LONGEST = 1 << 16  # of a run
_BYTES = 2_000_000  # of code; ten times what a picture full of strokes takes


def encode_runs(begin: Ints, behind: Ints, pixels: int) -> list[int]:
    """Pixels of a mask as runs that do not touch (`outline_to_runs`), of so many in all → bytes of code."""
    edges: Ints = np.stack([begin, behind], axis=1).reshape(-1)
    lengths: Ints = np.diff(np.concatenate([[0], edges, [pixels]])) * 4
    painted: Ints = np.arange(len(lengths)) % 2
    some = lengths > 0
    lengths, painted = lengths[some], painted[some]
    pieces = -(-lengths // _LONGEST)
    run = np.repeat(np.arange(len(lengths)), pieces)
    counts = np.full(len(run), _LONGEST)
    counts[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST
    size = np.searchsorted(1 << _COUNT_BITS, counts)
    count_bits = _COUNT_BITS[size]
    codes = ((((4 + size) << count_bits) + counts - 1) << 8) + painted[run] * 255
    header = [
        (pixels * 4 >> 16, 16),
        (pixels * 4 & 0xFFFF, 16),
        (7, 5),
        *((bits - 1, 4) for bits in _COUNT_BITS.tolist()),
    ]
    first = np.array(header)
    return _pack(np.concatenate([first[:, 0], codes]), np.concatenate([first[:, 1], count_bits + 11]))


def _pack(codes: Ints, bits: Ints) -> list[int]:
    """Numbers of at most 32 bits each, one behind the other, as bytes."""
    ends = np.cumsum(bits)
    starts = ends - bits
    length = int(-(-ends[-1] // 8))
    window = codes << (40 - bits - (starts & 7))  # of 5 bytes, from the one in which the number begins
    places = (starts >> 3)[:, None] + np.arange(5)
    parts = (window[:, None] >> np.arange(32, -1, -8)) & 255
    # No two numbers share a bit, so that sums are unions.
    packed = np.bincount(places.reshape(-1), parts.reshape(-1))[:length]
    code: list[int] = packed.astype(np.int64).tolist()
    return code


def decode_mask(rle: object, width: int, height: int) -> NDArray[np.bool_] | None:
    """(H, W) pixels that are not wholly transparent; None if this is no code, or that of another size of image.

    By Label Studio's SDK. Bounded before it begins: what a hostile code may take is memory for the image that it says
    and time for its own length.
    """
    from label_studio_sdk.converter.brush import decode_rle

    if not isinstance(rle, Sequence) or isinstance(rle, str) or not _HEADER_BITS // 8 < len(rle) <= _BYTES:
        return None
    try:
        code = bytes(rle)
        if int.from_bytes(code[:4], "big") != width * height * 4:
            return None
        decoded = decode_rle(code)
    except (
        TypeError,
        ValueError,
        IndexError,
        OverflowError,
    ):  # no bytes, cut off, words beyond the image or of 16 bits
        return None
    painted: NDArray[np.bool_] = decoded.reshape(height, width, 4)[..., 3] > 0
    return painted
