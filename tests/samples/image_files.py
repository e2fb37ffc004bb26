"""An image file of every kind that a task may name, made here, with the pixels that it shows."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from tests.samples.image_bytes import Order, bmp_with_alpha, encoded, gif, png, png_chunk, tiff, with_chunk

Pixels = NDArray[np.uint8]

# Large even squares of colour, so that lossy formats keep them apart, and no two corners alike.
_SQUARES = np.random.default_rng(5).integers(0, 256, (3, 5, 3), dtype=np.uint8)
COLOURS: Pixels = np.kron(_SQUARES, np.ones((16, 16, 1), dtype=np.uint8))  # (48, 80, 3) red first
PICTURE = Image.fromarray(COLOURS)
GRAY = PICTURE.convert("L")
FEW = PICTURE.quantize(8)
ALPHA: Pixels = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (48, 1))
CLEAR = Image.merge("RGBA", [*PICTURE.split(), Image.fromarray(ALPHA)])  # fades from clear to solid
GRAY_CLEAR = Image.merge("LA", [GRAY, Image.fromarray(ALPHA)])
CMYK = Image.merge("CMYK", [*ImageChops.invert(PICTURE).split(), Image.fromarray(ALPHA // 2)])
_LOWER = np.random.default_rng(6).integers(0, 256, (48, 80, 4), dtype=np.uint16)  # what 16 bit have more
_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
_EXACT: dict[str, Any] = {"quality": 100, "subsampling": 0}
CLIP = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 500 + np.random.default_rng(8).bytes(50_000)
"""Such as phones write behind a picture; its bytes look like scans of a JPEG."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that works."""

    data: bytes
    shows: Pixels  # (H, W, 3) red first
    tolerance: int = 1  # of each colour of each pixel; more for lossy formats
    unended: bool = False  # Chromium waits for more of it, and does not show the last row of blocks meanwhile

    @property
    def media_type(self) -> str:
        """Empty for what Chromium does not show."""
        starts = {b"\xff\xd8": "jpeg", b"\x89PNG": "png", b"RIFF": "webp", b"BM": "bmp", b"GIF8": "gif"}
        return next((f"image/{name}" for start, name in starts.items() if self.data.startswith(start)), "")


def on_white(image: Image.Image) -> Pixels:
    """Blended with a white page."""
    *colours, alpha = (np.asarray(channel, dtype=np.float64) for channel in image.split())
    part = alpha[:, :, None] / 255
    shown: Pixels = np.rint(np.dstack(colours) * part + 255 * (1 - part)).astype(np.uint8)
    return shown if len(colours) == 3 else np.repeat(shown, 3, axis=2)


def rgb(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


def without(image: Image.Image, colour: Any) -> Pixels:
    """One colour (or index) became transparent."""
    shown = rgb(image).copy()
    values = np.asarray(image)
    shown[(values == colour).all(axis=2) if values.ndim == 3 else values == colour] = 255
    return shown


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Upright, by the table of EXIF 2.32, 4.6.5.1.6: at which sides of the picture the first row and column are."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    mirrored = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    down, right = mirrored.get(orientation, (1, 1))
    return pixels[::down, ::right]


def exif(orientation: int, *, order: str = "<", kind: int = 3) -> bytes:
    """`kind` 3: a number of 16 bit, as it has to be; 4: of 32."""
    value = struct.pack(f"{order}HH", orientation, 0) if kind == 3 else struct.pack(f"{order}I", orientation)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + magic + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)


def deep(image: Image.Image) -> NDArray[np.uint16]:
    """(H, W, C) of 16 bit, whose upper bytes are the image."""
    upper = np.atleast_3d(np.asarray(image)).astype(np.uint16)
    return np.asarray((upper << 8) | _LOWER[:, :, : upper.shape[2]], dtype=np.uint16)


@cache
def works() -> dict[str, ImageFile]:
    """Name → file, of all that work."""
    plain = (*_jpeg(), *_png(), *_deep_png(), *_webp(), *_bmp_and_gif(), *_animated(), *_tiff(), *_sizes())
    return dict((*plain, *_jpeg_and_more(), *_png_and_notes()))


Named = Iterator[tuple[str, ImageFile]]


def _jpeg() -> Named:
    def jpeg(image: Image.Image = PICTURE, **options: Any) -> bytes:
        return encoded(image, "JPEG", **_EXACT, **options)

    inks = np.asarray(CMYK).astype(np.float64)
    mixed = np.rint((255 - inks[:, :, :3]) * (255 - inks[:, :, 3:]) / 255).astype(np.uint8)
    cmyk = jpeg(CMYK)
    adobe = cmyk.index(b"\xff\xee")
    # libjpeg makes inverted inks of luma and chroma; Pillow inverts all that it writes.
    luma = Image.merge("RGB", CMYK.split()[:3]).convert("YCbCr").split()
    ycck = bytearray(jpeg(Image.merge("CMYK", [*map(ImageChops.invert, luma), CMYK.split()[3]])))
    ycck[ycck.index(b"Adobe") + 11] = 2
    yield "JPEG", ImageFile(jpeg(), COLOURS, 3)
    yield "JPEG progressive", ImageFile(jpeg(progressive=True), COLOURS, 3)
    yield "JPEG gray", ImageFile(jpeg(GRAY), rgb(GRAY), 3)
    yield "JPEG not in luma and chroma", ImageFile(encoded(PICTURE, "JPEG", quality=100, keep_rgb=True), COLOURS, 3)
    yield "JPEG CMYK, inverted as Adobe does", ImageFile(cmyk, mixed, 3)
    yield "JPEG CMYK without Adobe's marker", ImageFile(cmyk[:adobe] + cmyk[adobe + 16 :], mixed, 3)
    yield "JPEG YCCK", ImageFile(bytes(ycck), mixed, 4)
    several = encoded(PICTURE, "MPO", save_all=True, append_images=[GRAY], exif=exif(6), **_EXACT)
    yield "JPEG of several pictures, turned", ImageFile(several, turned(COLOURS, 6), 3)
    for number in range(10):  # 0 and 9 mean nothing
        data = jpeg(exif=exif(number))
        yield f"JPEG of orientation {number}", ImageFile(data, turned(COLOURS, number), 3)
    yield "JPEG turned, big-endian", ImageFile(jpeg(exif=exif(6, order=">")), turned(COLOURS, 6), 3)
    yield "JPEG gray, turned", ImageFile(jpeg(GRAY, exif=exif(8)), turned(rgb(GRAY), 8), 3)
    yield "JPEG CMYK, turned", ImageFile(jpeg(CMYK, exif=exif(5)), turned(mixed, 5), 3)
    yield "JPEG whose orientation has 32 bit: not heeded", ImageFile(jpeg(exif=exif(6, kind=4)), COLOURS, 3)
    yield "JPEG with an orientation in XMP only: not heeded", ImageFile(jpeg(CMYK, xmp=_XMP), mixed, 3)


def _jpeg_and_more() -> Named:
    """What phones, cards and programs make of the end of a picture, and of what stands beside it."""
    plain, deep_ones = encoded(PICTURE, "JPEG", **_EXACT), encoded(PICTURE, "JPEG", progressive=True, **_EXACT)
    inks = encoded(CMYK, "JPEG", **_EXACT)
    mixed = rgb(Image.open(io.BytesIO(inks)))
    yield "JPEG without its end marker", ImageFile(plain[:-2], COLOURS, 3, unended=True)
    yield "JPEG with half of its end marker", ImageFile(plain[:-1], COLOURS, 3, unended=True)
    yield "JPEG progressive without its end marker", ImageFile(deep_ones[:-2], COLOURS, 3)
    yield "JPEG CMYK without its end marker", ImageFile(inks[:-2], mixed, 3, unended=True)
    yield "JPEG turned, without its end marker", ImageFile(turned_jpeg()[:-2], turned(COLOURS, 6), 3, unended=True)
    yield "JPEG with zeros in place of its end marker", ImageFile(plain[:-2] + bytes(5000), COLOURS, 3)
    yield "JPEG with zeros behind its end", ImageFile(plain + bytes(5000), COLOURS, 3)
    yield "JPEG with a motion clip behind", ImageFile(plain + CLIP, COLOURS, 3)
    yield "JPEG turned, with a motion clip behind", ImageFile(turned_jpeg() + CLIP, turned(COLOURS, 6), 3)
    yield "JPEG with a motion clip in place of its end marker", ImageFile(plain[:-2] + CLIP, COLOURS, 3)
    several = encoded(PICTURE, "MPO", save_all=True, append_images=[GRAY], **_EXACT)
    yield "JPEG of several pictures and a motion clip", ImageFile(several + CLIP, COLOURS, 3)
    profile = encoded(PICTURE, "JPEG", icc_profile=b"\xff\xda" * 1_000_000, **_EXACT)
    yield "JPEG with a profile of 2 MB", ImageFile(profile, COLOURS, 3)
    small = io.BytesIO()
    GRAY.save(small, "JPEG", progressive=True)
    notes = b"".join(b"\xff\xe7" + struct.pack(">H", 2 + len(small.getvalue())) + small.getvalue() for _ in range(50))
    yield "JPEG with fifty small pictures in its notes", ImageFile(plain[:2] + notes + plain[2:], COLOURS, 3)


def turned_jpeg() -> bytes:
    """PICTURE, to be turned by a quarter."""
    return encoded(PICTURE, "JPEG", exif=exif(6), **_EXACT)


def _png_and_notes() -> Named:
    whole = encoded(PICTURE, "PNG")
    zeros = zlib.compress(bytes(100_000_000), 9)
    for kind, head in {"zTXt": b"a\0\0", "iTXt": b"a\0\1\0\0\0", "iCCP": b"a\0\0"}.items():
        long = png_chunk(kind.encode(), head + zeros)
        yield f"PNG with {kind} that unpacks to 100 MB", ImageFile(with_chunk(whole, long), COLOURS)
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))
    yield "PNG with 70 texts of 1 MB", ImageFile(with_chunk(whole, 70 * text), COLOURS)
    yield "PNG with 70 texts of 1 MB behind", ImageFile(with_chunk(whole, 70 * text, behind=True), COLOURS)
    yield "PNG alpha, with a text of 2 MB", ImageFile(with_chunk(encoded(CLEAR, "PNG"), 2 * text), on_white(CLEAR))
    yield "PNG with a motion clip behind", ImageFile(whole + CLIP, COLOURS)


def _png() -> Named:
    yield "PNG", ImageFile(encoded(PICTURE, "PNG"), COLOURS)
    yield "PNG interlaced", ImageFile(png(COLOURS, interlaced=True), COLOURS)
    yield "PNG gray", ImageFile(encoded(GRAY, "PNG"), rgb(GRAY))
    yield "PNG of 1 bit", ImageFile(encoded(GRAY.convert("1"), "PNG"), rgb(GRAY.convert("1")))
    yield "PNG alpha", ImageFile(encoded(CLEAR, "PNG"), on_white(CLEAR))
    yield "PNG alpha, interlaced", ImageFile(png(np.asarray(CLEAR), interlaced=True), on_white(CLEAR))
    yield "PNG gray alpha", ImageFile(encoded(GRAY_CLEAR, "PNG"), on_white(GRAY_CLEAR))
    yield "PNG palette", ImageFile(encoded(FEW, "PNG"), rgb(FEW))
    yield "PNG palette, one clear", ImageFile(encoded(FEW, "PNG", transparency=3), without(FEW, 3))
    fading = Image.fromarray(np.linspace(0, 255, 8).astype(np.uint8)[np.asarray(FEW)])
    layered = Image.merge("RGBA", [*FEW.convert("RGB").split(), fading])
    yield (
        "PNG palette, fading",
        ImageFile(encoded(FEW, "PNG", transparency=bytes(range(0, 256, 36))), on_white(layered), 3),
    )
    first = COLOURS[0, 0].tolist()
    yield "PNG one colour clear", ImageFile(encoded(PICTURE, "PNG", transparency=tuple(first)), without(PICTURE, first))
    gray = GRAY.getpixel((0, 0))
    yield "PNG one gray clear", ImageFile(encoded(GRAY, "PNG", transparency=gray), without(GRAY, gray))
    yield "PNG turned", ImageFile(encoded(PICTURE, "PNG", exif=exif(6)), turned(COLOURS, 6))
    yield "PNG alpha, turned", ImageFile(encoded(CLEAR, "PNG", exif=exif(7)), turned(on_white(CLEAR), 7))
    late = png_chunk(b"eXIf", exif(6)[6:])
    yield "PNG with an orientation behind the pixels: not heeded", ImageFile(png(COLOURS, behind=late), COLOURS)
    damaged = bytearray(encoded(PICTURE, "PNG"))
    damaged[-13] ^= 1
    yield "PNG whose last checksum is wrong", ImageFile(bytes(damaged), COLOURS)


def _deep_png() -> Named:
    yield "PNG of 16 bit", ImageFile(png(deep(PICTURE)), COLOURS)
    yield "PNG of 16 bit gray", ImageFile(png(deep(GRAY)), rgb(GRAY))
    yield "PNG of 16 bit gray, interlaced", ImageFile(png(deep(GRAY), interlaced=True), rgb(GRAY))
    yield "PNG of 16 bit alpha", ImageFile(png(deep(CLEAR)), on_white(CLEAR), 2)
    yield "PNG of 16 bit gray alpha", ImageFile(png(deep(GRAY_CLEAR)), on_white(GRAY_CLEAR), 2)
    pixels = deep(GRAY)
    shown = rgb(GRAY).copy()
    shown[pixels[:, :, 0] == pixels[0, 0, 0]] = 255
    clear = png_chunk(b"tRNS", struct.pack(">H", pixels[0, 0, 0]))
    yield "PNG of 16 bit gray, one clear", ImageFile(png(pixels, before=clear), shown)


def _webp() -> Named:
    yield "WebP", ImageFile(encoded(GRAY.convert("RGB"), "WEBP", quality=100), rgb(GRAY), 4)
    yield "WebP lossless", ImageFile(encoded(PICTURE, "WEBP", lossless=True), COLOURS)
    yield "WebP alpha", ImageFile(encoded(CLEAR, "WEBP", lossless=True), on_white(CLEAR))
    yield (
        "WebP with an orientation: not heeded",
        ImageFile(encoded(PICTURE, "WEBP", lossless=True, exif=exif(6)), COLOURS),
    )


def _bmp_and_gif() -> Named:
    for name, image in {"": PICTURE, " gray": GRAY, " palette": FEW, " of 1 bit": GRAY.convert("1")}.items():
        yield f"BMP{name}", ImageFile(encoded(image, "BMP"), rgb(image))
    yield "BMP alpha", ImageFile(bmp_with_alpha(np.asarray(CLEAR)), on_white(CLEAR))
    yield "GIF", ImageFile(encoded(FEW, "GIF", interlace=0), rgb(FEW))
    yield "GIF interlaced", ImageFile(encoded(FEW, "GIF", interlace=1), rgb(FEW))
    yield "GIF gray", ImageFile(encoded(GRAY, "GIF"), rgb(GRAY))
    yield "GIF one clear", ImageFile(encoded(FEW, "GIF", transparency=2), without(FEW, 2))
    part = np.full((60, 100, 3), 255, dtype=np.uint8)
    part[8:56, 5:85] = rgb(FEW)
    yield "GIF whose frame is a part", ImageFile(gif((100, 60), (5, 8), FEW), part)


def _animated() -> Named:
    """The first frame counts."""
    later = [PICTURE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    yield "GIF animated", ImageFile(encoded(FEW, "GIF", save_all=True, append_images=[GRAY], duration=5000), rgb(FEW))
    options: dict[str, Any] = {"save_all": True, "append_images": later, "duration": 5000}
    yield "PNG animated", ImageFile(encoded(PICTURE, "PNG", **options), COLOURS)
    still = encoded(PICTURE, "PNG", default_image=True, **options)
    yield "PNG animated, its still picture no frame", ImageFile(still, rgb(later[0]))
    yield "WebP animated", ImageFile(encoded(PICTURE, "WEBP", lossless=True, **options), COLOURS)
    options["append_images"] = [CLEAR.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    yield "PNG animated alpha", ImageFile(encoded(CLEAR, "PNG", **options), on_white(CLEAR))
    yield "WebP animated alpha", ImageFile(encoded(CLEAR, "WEBP", lossless=True, **options), on_white(CLEAR))


def _tiff() -> Named:
    inks = np.asarray(CMYK).astype(np.float64)
    mixed = np.rint((255 - inks[:, :, :3]) * (255 - inks[:, :, 3:]) / 255).astype(np.uint8)
    gray = np.asarray(GRAY)[:, :, None]
    yield "TIFF", ImageFile(encoded(PICTURE, "TIFF"), COLOURS)
    yield "TIFF compressed", ImageFile(encoded(PICTURE, "TIFF", compression="tiff_lzw"), COLOURS)
    yield "TIFF gray", ImageFile(encoded(GRAY, "TIFF"), rgb(GRAY))
    yield "TIFF gray, white is zero", ImageFile(tiff(255 - gray, photometric=0), rgb(GRAY))
    yield "TIFF of 1 bit", ImageFile(encoded(GRAY.convert("1"), "TIFF"), rgb(GRAY.convert("1")))
    yield "TIFF palette", ImageFile(encoded(FEW, "TIFF"), rgb(FEW))
    yield "TIFF CMYK", ImageFile(encoded(CMYK, "TIFF"), mixed)
    yield "TIFF alpha", ImageFile(encoded(CLEAR, "TIFF"), on_white(CLEAR))
    yield "TIFF in planes", ImageFile(tiff(COLOURS, planes=True), COLOURS)
    orders: dict[str, Order] = {"": "<", ", big-endian": ">"}
    for name, order in orders.items():
        yield f"TIFF of 16 bit{name}", ImageFile(tiff(deep(PICTURE), order=order), COLOURS)
        yield f"TIFF of 16 bit gray{name}", ImageFile(tiff(deep(GRAY), order=order), rgb(GRAY))
    yield "TIFF of 16 bit gray, white is zero", ImageFile(tiff(65535 - deep(GRAY), photometric=0), rgb(GRAY))
    several = encoded(PICTURE, "TIFF", save_all=True, append_images=[GRAY])
    yield "TIFF of several pages", ImageFile(several, COLOURS)
    for number in range(2, 9):
        data = tiff(COLOURS, orientation=number)
        yield f"TIFF of orientation {number}", ImageFile(data, turned(COLOURS, number))


def _sizes() -> Named:
    dot, line = Image.new("RGB", (1, 1), (200, 100, 50)), Image.new("RGB", (3000, 1), (200, 100, 50))
    for format_ in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
        for name, image in {"1×1": dot, "3000×1": line}.items():
            yield f"{format_} of {name}", ImageFile(encoded(image, format_, **_best(format_)), rgb(image), 3)


def _best(format_: str) -> dict[str, Any]:
    return _EXACT if format_ == "JPEG" else {"lossless": True} if format_ == "WEBP" else {}
