"""Removes metadata from PNG files: Pillow decompresses it, and refuses a file whose texts or profile are large.

Format: PNG (third edition), sections 5.3 and 11.3.
"""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # texts, and the colour profile, which is not applied
_MAX_CHUNKS = 10_000


def without_metadata(data: bytes) -> bytes:
    """The file without texts and colour profile before its pixels. Pillow never reads those after the pixels."""
    kept, place = [], len(SIGNATURE)
    start = 0
    for _ in range(_MAX_CHUNKS):
        kind = data[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if kind == b"IDAT" or end > len(data):
            break
        if kind in _METADATA:
            kept.append(data[start:place])
            start = end
        place = end
    return b"".join([*kept, data[start:]]) if start else data
