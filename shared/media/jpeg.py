"""What is the picture in a JPEG file: where it ends, how much work it is, and whether all of it is there.

Phones write a clip, a second picture or their own notes behind the picture; transfers end early. Decoders make up for
what is missing (with gray, and a warning that nobody sees), so it is looked up here. Format: ITU-T T.81, annex B.
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
_MAX_SCANS = 100  # a usual progressive file has ten, and each costs as much as the whole picture
_ALL = 2**64 - 1  # a bit a coefficient of a block
_PADDING = re.compile(rb"[\x00\xff]{16,}\Z")  # of files whose end was never written
_NOISE = b"\xaa\x55" * 512
_MAX_SEGMENTS = 10_000  # of 64 kB each where profiles and notes are large
_MIN_WINDOW, _WINDOW = 64, 1_000_000  # bytes that are searched at once, more and more


@dataclass(frozen=True, slots=True)
class Jpeg:
    """One picture."""

    data: bytes  # without what is behind it, and with an end marker
    ended: bool  # the end marker was there
    every_scan: bool  # what all scans together have to tell was begun: of every coefficient of every component

    @property
    def with_noise(self) -> bytes:
        """The same file with more pixel data. It shows the same, unless some was missing: then a decoder takes this."""
        return self.data[:-2] + _NOISE + self.data[-2:]


def first_picture(data: bytes) -> Jpeg | None:
    """The first picture in a JPEG file; None if there is not one scan in it.

    Raises ImageError("too_large") if it has so many scans or segments that decoding them would take too long.
    """
    missing: dict[int, int] = {}  # component → coefficients that were not told to the last bit
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
            told = _told(body, progressive)
            if told is None or not told.keys() <= missing.keys():
                break
            for component, coefficients in told.items():
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
    """Marker, where it begins, and body, up to the end of the picture or to what cannot be a part of it."""
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


def _told(body: bytes, progressive: bool) -> dict[int, int] | None:
    """Component → the coefficients that a scan tells to the last bit; None if it is no header of a scan (B.2.3)."""
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
    """Where the next FF is that begins a marker. In pixels FF 00 is a byte FF, and markers D0–D7 go on with them."""
    size = _MIN_WINDOW
    while place < len(data) - 1:
        window = np.frombuffer(data, np.uint8, min(size, len(data) - place), place)
        begins = np.flatnonzero(window[:-1] == 0xFF)
        codes = window[begins + 1]
        markers = begins[(codes != 0) & (codes != 0xFF) & ((codes < 0xD0) | (codes > 0xD7))]
        if len(markers):
            return place + int(markers[0])
        place, size = place + len(window) - 1, min(2 * size, _WINDOW)
    return None
