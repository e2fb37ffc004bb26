"""A PNG file without the notes in it: Pillow unpacks them, and refuses a file whose notes or profile are large.

Format: PNG (third edition), sections 5.3 and 11.3.
"""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NOTES = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # texts, and the colour profile, which nobody heeds here
_MAX_CHUNKS = 10_000


def without_notes(data: bytes) -> bytes:
    """The same file without texts and colour profile before its pixels; those behind them are never unpacked."""
    kept, place = [], len(SIGNATURE)
    start = 0
    for _ in range(_MAX_CHUNKS):
        kind = data[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if kind == b"IDAT" or end > len(data):
            break
        if kind in _NOTES:
            kept.append(data[start:place])
            start = end
        place = end
    return b"".join([*kept, data[start:]]) if start else data
