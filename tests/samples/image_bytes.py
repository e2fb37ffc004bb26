"""Image files of kinds that Pillow does not write, byte for byte."""

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Order = Literal["<", ">"]
"""Of bytes: the lowest or the highest first."""

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""PNG's Adam7: first column and row, steps to the right and downwards."""
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG: channels → colour type


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    """What Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    pixels: NDArray[Any], *, before: bytes = b"", behind: bytes = b"", interlaced: bool = False, palette: bool = False
) -> bytes:
    """(H, W, C) of 8 or 16 bit; with more chunks `before` and `behind` the pixels."""
    height, width, channels = pixels.shape
    passes = [pixels[row::down, column::right] for column, row, right, down in _PASSES] if interlaced else [pixels]
    wide = ">u2" if pixels.dtype == np.uint16 else "u1"
    rows = b"".join(b"\0" + row.astype(wide).tobytes() for part in passes for row in part if part.size)
    colour_type = 3 if palette else _COLOUR_TYPES[channels]
    header = png_header(width, height, depth=pixels.itemsize * 8, colour_type=colour_type, interlaced=interlaced)
    return header + before + png_chunk(b"IDAT", zlib.compress(rows)) + behind + png_chunk(b"IEND", b"")


def png_header(width: int, height: int, *, depth: int = 8, colour_type: int = 2, interlaced: bool = False) -> bytes:
    fields = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", fields)


def with_chunk(data: bytes, chunk: bytes, *, behind: bool = False) -> bytes:
    """A PNG file with one more chunk, right after its header or before its end."""
    place = len(data) - 12 if behind else 33
    return data[:place] + chunk + data[place:]


def gif(screen: tuple[int, int], corner: tuple[int, int], frame: Image.Image) -> bytes:
    """A GIF whose only frame lies at `corner` of a larger screen; the background has the palette's first colour."""
    whole = encoded(frame, "GIF", interlace=0)
    place = whole.index(b",\0\0\0\0")
    return (
        b"GIF89a"
        + struct.pack("<HH", *screen)
        + whole[10:place]
        + b","
        + struct.pack("<HH", *corner)
        + whole[place + 5 :]
    )


def tiff(pixels: NDArray[Any], *, order: Order = "<", planes: bool = False, **tags: int) -> bytes:
    """(H, W, C) uncompressed. `order`: "<" or ">". `tags`: photometric, orientation, tile (its sides)."""
    height, width, channels = pixels.shape
    parts = np.moveaxis(pixels, 2, 0) if planes else [pixels]
    strips = [np.ascontiguousarray(part, dtype=pixels.dtype.newbyteorder(order)).tobytes() for part in parts]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    values = {
        256: [width],
        257: [height],
        258: [pixels.itemsize * 8] * channels,
        259: [1],
        262: [tags.get("photometric", 1 if channels < 3 else 2)],
        274: [tags.get("orientation", 1)],
        277: [channels],
        278: [height],
        284: [2 if planes else 1],
        322: [tags["tile"]] if "tile" in tags else [],
        323: [tags["tile"]] if "tile" in tags else [],
        339: [kind] * channels,
    }
    values = {tag: value for tag, value in values.items() if value}
    begin = 8 + 2 + 12 * (len(values) + 2) + 4
    room = sum(4 * len(value) for value in values.values()) + 8 * len(strips)
    starts = [begin + room + sum(len(strip) for strip in strips[:number]) for number in range(len(strips))]
    values |= {273: starts, 279: [len(strip) for strip in strips]}
    directory, more = struct.pack(f"{order}H", len(values)), b""
    for tag, value in sorted(values.items()):
        body = b"".join(struct.pack(f"{order}I", number) for number in value)
        if len(body) > 4:
            body, more = struct.pack(f"{order}I", begin + len(more)), more + body
        directory += struct.pack(f"{order}HHI", tag, 4, len(value)) + body
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}I", 8) + directory + bytes(4) + more.ljust(room, b"\0") + b"".join(strips)


def bmp_with_alpha(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 4) red first, as a BMP of version 4, whose header names a mask for alpha."""
    height, width = pixels.shape[:2]
    body = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks
    return b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122) + header.ljust(108, b"\0") + body
