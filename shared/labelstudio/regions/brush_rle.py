"""Label Studio's run-length encoding of masks, that of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.

It encodes the RGBA bytes of every pixel of the image. Header: 32 bits number of bytes, 5 bits word size − 1, then four
times 4 bits count size − 1. Then runs: 1 bit (1: one repeated word, 0: different words), 2 bits index of the count's
size, count − 1, and the word or words.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Ints

_COUNT_BITS = np.array([3, 4, 8, 16])
_WORD_BITS = 8
_HEADER_BITS = 32 + 5 + 4 * 4
_MAX_RUN = 1 << 16  # words
_MAX_BYTES = 2_000_000  # of an encoded mask; ten times what a picture full of strokes takes


def encode_runs(begin: Ints, end: Ints, pixels: int) -> list[int]:
    """Encode a mask: runs that do not touch, as of `outline_to_runs`, of an image of `pixels` pixels → bytes."""
    edges: Ints = np.stack([begin, end], axis=1).reshape(-1)
    lengths: Ints = np.diff(np.concatenate([[0], edges, [pixels]])) * 4
    painted: Ints = np.arange(len(lengths)) % 2
    some = lengths > 0
    lengths, painted = lengths[some], painted[some]
    pieces = -(-lengths // _MAX_RUN)
    run = np.repeat(np.arange(len(lengths)), pieces)
    counts = np.full(len(run), _MAX_RUN)
    counts[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _MAX_RUN
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
    """Concatenate numbers of up to 32 bits each, `bits` wide, to bytes."""
    ends = np.cumsum(bits)
    starts = ends - bits
    length = int(-(-ends[-1] // 8))
    window = codes << (40 - bits - (starts & 7))  # 5 bytes, from the one in which the number begins
    places = (starts >> 3)[:, None] + np.arange(5)
    parts = (window[:, None] >> np.arange(32, -1, -8)) & 255
    # No two numbers share a bit, so a sum is a bitwise or.
    packed = np.bincount(places.reshape(-1), parts.reshape(-1))[:length]
    code: list[int] = packed.astype(np.int64).tolist()
    return code


def decode_mask(rle: object, width: int, height: int) -> NDArray[np.bool_] | None:
    """(H, W) pixels with alpha over 0; None if `rle` is malformed, or for another image size.

    Takes a byte of memory a pixel, and time in proportion to the length of `rle`. Label Studio's SDK decodes bit by
    bit, in six times the time and four times the memory.
    """
    if not isinstance(rle, Sequence) or isinstance(rle, str) or len(rle) > _MAX_BYTES:
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
        if end > total or bit + words * _WORD_BITS > len(code) * 8:  # truncated
            return None
        alpha: Any = run >> (21 - size) & 255 if words == 1 else _words(stream, bit, words)[3 - begin % 4 :: 4]
        mask[begin // 4 : end // 4] = alpha > 0  # pixels whose alpha byte is in this run
        bit += words * _WORD_BITS
        begin = end
    return mask.reshape(height, width)


def _words(stream: bytes, bit: int, count: int) -> Ints:
    """(count,) words, from a bit position on."""
    raw = np.frombuffer(stream, np.uint8, count + 1, bit >> 3).astype(np.int64)
    return (raw[:-1] << (bit & 7) | raw[1:] >> (8 - (bit & 7))) & 255
