"""Label Studio's run-length code of masks: bits of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.

It codes the bytes red, green, blue, alpha of every pixel of the image. Header: 32 bits number of bytes, 5 bits size of
a word − 1, four times 4 bits sizes of a count − 1. Then runs: a bit (1: one word that is repeated, 0: different words),
2 bits that say which size the count has, count − 1, and the word or words.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Ints

_COUNT_BITS = np.array([3, 4, 8, 16])
_WORD_BITS = 8
_HEADER_BITS = 32 + 5 + 4 * 4
_LONGEST = 1 << 16  # of a run
_BYTES = 2_000_000  # of code; ten times what a picture full of strokes takes


def encode_runs(begin: Ints, end: Ints, pixels: int) -> list[int]:
    """Pixels of a mask as runs that do not touch (`outline_to_runs`), of so many in all → bytes of code."""
    edges: Ints = np.stack([begin, end], axis=1).reshape(-1)
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

    Takes a byte of memory a pixel, and time for the length of the code, whatever it says. Label Studio's SDK reads it
    bit by bit, which takes six times as long, and four times the memory.
    """
    if not isinstance(rle, Sequence) or isinstance(rle, str) or len(rle) > _BYTES:
        return None
    try:
        code = bytes(rle)
    except (TypeError, ValueError):
        return None
    head = int.from_bytes(code[:7], "big") >> 3
    count_bits = [(head >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
    total = width * height * 4
    if len(code) < 7 or head >> 21 != total or head >> 16 & 31 != _WORD_BITS - 1:
        return None
    mask = np.zeros(width * height, dtype=np.bool_)
    stream = code + bytes(5)
    bit, begin = _HEADER_BITS, 0
    while begin < total:
        run = int.from_bytes(stream[bit >> 3 : (bit >> 3) + 5], "big") >> (8 - (bit & 7)) & 0xFFFFFFFF
        size = count_bits[run >> 29 & 3]
        end = begin + (run >> (29 - size) & ((1 << size) - 1)) + 1
        words = 1 if run >> 31 else end - begin
        bit += 3 + size
        if end > total or bit + words * _WORD_BITS > len(code) * 8:  # cut off
            return None
        alpha: Any = run >> (21 - size) & 255 if words == 1 else _words(stream, bit, words)[3 - begin % 4 :: 4]
        mask[begin // 4 : end // 4] = alpha > 0  # of the pixels whose last byte is in this run
        bit += words * _WORD_BITS
        begin = end
    return mask.reshape(height, width)


def _words(stream: bytes, bit: int, count: int) -> Ints:
    """So many words from a bit on."""
    raw = np.frombuffer(stream, np.uint8, count + 1, bit >> 3).astype(np.int64)
    return (raw[:-1] << (bit & 7) | raw[1:] >> (8 - (bit & 7))) & 255
