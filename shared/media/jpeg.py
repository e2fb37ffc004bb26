"""Finds the picture in a JPEG file: where it ends, how costly it is to decode, and whether it is complete.

Phones append a video clip, a second picture or metadata; transfers are cut off. Decoders fill missing data with gray
and only warn, so completeness is checked here. Format: ITU-T T.81, annex B.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shared.errors import ImageError

_END, _SCAN = 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_OTHERS = frozenset({0xC4, 0xCC, *range(0xDB, 0xF0), 0xFE})  # tables, APPn, comment: skipped by their length
_MAX_SCANS = 100  # a progressive file usually has ten, and decoding each costs as much as the whole picture
_ALL = 2**64 - 1  # one bit for each coefficient of a block
_PADDING = re.compile(rb"[\x00\xff]{16,}\Z")  # in files whose end was never written
_NOISE = b"\xaa\x55" * 512
_MAX_SEGMENTS = 10_000  # large profiles and metadata are split into segments of 64 kB
_MIN_WINDOW, _MAX_WINDOW = 64, 1_000_000  # bytes searched at a time; the window doubles


@dataclass(frozen=True, slots=True)
class Jpeg:
    """One picture of a JPEG file."""

    data: bytes  # without what follows the picture, and with an end marker
    ended: bool  # the file has an end marker
    every_scan: bool  # scans for every coefficient of every component begin in the file

    @property
    def with_noise(self) -> bytes:
        """The file with noise appended to its pixel data: it shows the same, unless data was missing."""
        return self.data[:-2] + _NOISE + self.data[-2:]


def first_picture(data: bytes) -> Jpeg | None:
    """The first picture in a JPEG file; None if the file has no scan.

    Raises ImageError("too_large") if decoding would take too long, because of too many scans or segments.
    """
    missing: dict[int, int] = {}  # component → coefficients that no scan has completed so far
    end = scans = 0
    ended = progressive = False
    for marker, place, body in _segments(data):
        if marker == _END and scans:
            end, ended = place + 2, True
        elif marker in _FRAMES:
            if missing or len(body) < 9:
                break
            progressive = marker in _PROGRESSIVE
            missing = dict.fromkeys(body[6 : 6 + 3 * body[5] : 3], _ALL)
        elif marker == _SCAN:
            completed = _completed(body, progressive)
            if completed is None or not completed.keys() <= missing.keys():
                break
            for component, coefficients in completed.items():
                missing[component] &= ~coefficients
            following = _next_marker(data, place + 4 + len(body))
            end, scans = len(data) if following is None else following, scans + 1
            if scans > _MAX_SCANS:
                raise ImageError("too_large", f"the JPEG file has more than {_MAX_SCANS} scans")
    if not scans:
        return None
    if ended:
        return Jpeg(data if end == len(data) else data[:end], True, True)
    pixels = _PADDING.sub(b"", data[:end])
    return Jpeg(pixels + b"\xff\xd9", False, not any(missing.values()))


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(marker, position, body) of each segment, up to the end of the picture or the first invalid segment."""
    place, segments = 2, 0
    while (begin := _next_marker(data, place)) is not None:
        marker = data[begin + 1]
        if marker == _END:
            yield marker, begin, b""
            return
        if marker not in _FRAMES | _OTHERS | {_SCAN}:
            return
        size = int.from_bytes(data[begin + 2 : begin + 4], "big")
        if size < 2 or begin + 2 + size > len(data):
            return
        yield marker, begin, data[begin + 4 : begin + 2 + size]
        place, segments = begin + 2 + size, segments + 1
        if segments > _MAX_SEGMENTS:
            raise ImageError("too_large", f"the JPEG file has more than {_MAX_SEGMENTS} segments")


def _completed(body: bytes, progressive: bool) -> dict[int, int] | None:
    """Component → bits of the coefficients that a scan completes; None if `body` is not a scan header (B.2.3)."""
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        return None
    first, last, bits = body[-3:]
    if not progressive:
        return dict.fromkeys(body[1:-3:2], _ALL)
    if not first <= last < 64:
        return None
    coefficients = (2 ** (last - first + 1) - 1) << first
    return dict.fromkeys(body[1:-3:2], 0 if bits & 15 else coefficients)


def _next_marker(data: bytes, place: int) -> int | None:
    """Position of the next marker's FF. In pixel data FF 00 is a byte FF, and D0–D7 are restart markers: skipped."""
    size = _MIN_WINDOW
    while place < len(data) - 1:
        window = np.frombuffer(data, np.uint8, min(size, len(data) - place), place)
        begins = np.flatnonzero(window[:-1] == 0xFF)
        codes = window[begins + 1]
        markers = begins[(codes != 0) & (codes != 0xFF) & ((codes < 0xD0) | (codes > 0xD7))]
        if len(markers):
            return place + int(markers[0])
        place, size = place + len(window) - 1, min(2 * size, _MAX_WINDOW)
    return None
