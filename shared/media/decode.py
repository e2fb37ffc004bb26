"""Decodes image files to the pixels that a browser shows, and so the annotator saw.

The header is read first, so that an image of too many pixels is refused before it is decoded. Other content of the file
(a video clip after the picture, texts, profiles) is removed before a decoder sees it. OpenCV, which is the fastest,
decodes the plain cases; Pillow those where OpenCV differs from a browser (transparency, palettes, CMYK, GIF, 16 bit).
Colour profiles and gamma are ignored, as by ultralytics in training.

A large JPEG file for a model with a small input is decoded at a reduced scale: libjpeg computes fewer pixels, where all
of them would be averaged afterwards.
"""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import TiffImageFile

from shared.errors import ImageError
from shared.media.fit import Side, Sized, in_full
from shared.media.jpeg import Jpeg, first_picture
from shared.media.jpeg_pixels import LARGE, decoded_once
from shared.media.png import SIGNATURE, without_metadata

# Not EPS, which starts an interpreter, nor formats that browsers do not show, except TIFF for local files and buckets.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_MAGIC = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8")
_PLAIN_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP")
_PLAIN_MODES = ("L", "RGB")
_ANIMATED = {"PNG": (b"acTL", b"fcTL", b"fdAT"), "WEBP": (b"ANIM", b"ANMF")}  # their chunks
_TURNING_FORMATS = ("JPEG", "MPO", "PNG")  # browsers apply the EXIF orientation of these, and not that of WebP
_ORIENTATION, _SHORT = 0x0112, 3  # EXIF tag and type
_BITS, _PHOTOMETRIC, _PLANES, _TILE_WIDTH, _TILE_HEIGHT = 258, 262, 284, 322, 323  # TIFF tags
_STRIP = 256  # rows that Pillow converts at a time
_LONGEST = 1_000_000
"""Pixels of a side. Browsers show no longer ones either (a limit of libpng); rows of one pixel cost Pillow 30 bytes."""
_SCALES = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
"""Pixels of a file on each side that become one → how OpenCV is told."""
_BLOCK = 8  # pixels of a JPEG file that are stored together, on each side
_TURNS: dict[int, Callable[[NDArray[np.uint8]], MatLike]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.flip(pixels, -1),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""EXIF orientation → function that turns the picture upright."""
_LYING = (5, 6, 7, 8)  # of these: with width and height exchanged
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
    ArithmeticError,
)
"""Exceptions that Pillow's plugins raise on malformed files."""

Image.MAX_IMAGE_PIXELS = None  # LABELLOOP_IMAGE_MAX_PIXELS is the limit, checked below


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """The first frame as (H, W, 3) uint8 BGR, contiguous, turned upright by its EXIF orientation.

    Transparent pixels are blended with white, like the page's background. Takes at most 12 bytes of memory a pixel.
    Raises ImageError: too_large (pixels, scans), no_memory, broken (also if a part is missing), unsupported (unknown
    format, or no defined white).
    """
    return decode_for(data, max_pixels, None).pixels


def decode_for(data: bytes, max_pixels: int, side: Side) -> Sized:
    """As `decode`, for who needs `side` pixels on the longer side.

    A JPEG file that has at least twice as many comes at a half, a quarter or an eighth of its size, sides rounded up.
    """
    try:
        jpeg = first_picture(data) if data.startswith(b"\xff\xd8") else None
        picture = jpeg.data if jpeg else only_picture(data)
        with Image.open(io.BytesIO(picture), formats=_FORMATS) as image:
            _check_size(image, max_pixels)
            turned = orientation(image)  # before pixels are read: browsers ignore metadata after them
            width, height = image.size
            needed = side(max(width, height)) if callable(side) else side
            reduced = _reduced(jpeg, image, needed) if jpeg and needed else None
            pixels = _pixels(picture, image) if reduced is None else reduced
        if jpeg and reduced is None:
            _require_whole(jpeg, pixels)
        shown = _upright(pixels, turned)
        if reduced is None:
            return in_full(shown)
        return Sized(shown, (width, height) if turned in _LYING else (height, width))
    except (UnidentifiedImageError, ImportError) as error:  # ImportError: ultralytics, once imported, makes
        # Pillow look for another decoder in a package that is not installed
        if data.startswith(_MAGIC) or not data:
            raise ImageError(
                "broken", f"the image file ({len(data)} bytes) is broken at its beginning, or of a rare kind"
            ) from error
        raise ImageError("unsupported", f"the file is none of {', '.join(_FORMATS)}") from error
    except (*BROKEN, MemoryError, cv2.error) as error:
        if isinstance(error, MemoryError) or getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise ImageError("no_memory", "there is not enough memory to decode the image") from error
        raise ImageError("broken", f"the image file ({len(data)} bytes) is broken: {type(error).__name__}") from error


def only_picture(data: bytes) -> bytes:
    """The file without metadata and without what follows its picture. Raises ImageError as `first_picture` does."""
    if data.startswith(b"\xff\xd8"):
        jpeg = first_picture(data)
        return jpeg.data if jpeg else data
    return without_metadata(data) if data.startswith(SIGNATURE) else data


def is_plain(data: bytes, image: Image.Image) -> bool:
    """Whether OpenCV decodes the pixels of this file as a browser does, apart from orientation.

    False for animated files: OpenCV 4.12 writes out of bounds if one is damaged.
    """
    return (
        image.format in _PLAIN_FORMATS
        and image.mode in _PLAIN_MODES
        and "transparency" not in image.info  # one colour or gray of a PNG
        and not any(mark in data for mark in _ANIMATED.get(image.format, ()))
    )


def orientation(image: Image.Image) -> int:
    """The EXIF orientation (1–8, 1 is upright) that a browser applies, of a file that was just opened.

    Browsers read it only as a SHORT of the first directory (TIFF 6.0, section 2); Pillow takes other types and XMP too.
    """
    exif = image.info.get("exif", b"") if image.format in _TURNING_FORMATS else b""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(entries):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * number)
            if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
                return int(value)
    except struct.error:  # a truncated directory: browsers show the picture as it is
        return 1
    return 1


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if isinstance(image, TiffImageFile):  # a tile is decoded whole, even if the picture is smaller
        width, height = max(width, image.tag_v2.get(_TILE_WIDTH, 0)), max(height, image.tag_v2.get(_TILE_HEIGHT, 0))
    problem = f"the image has {width} × {height} pixels, more than"
    if width * height > max_pixels:
        raise ImageError("too_large", f"{problem} {max_pixels} (LABELLOOP_IMAGE_MAX_PIXELS)")
    if max(width, height) > _LONGEST:
        raise ImageError("too_large", f"{problem} {_LONGEST} on a side")


def _pixels(data: bytes, image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) BGR as stored, not turned upright."""
    pixels = _decode_plain(data, image) if is_plain(data, image) else None
    return _decode_any(image) if pixels is None else pixels


def _require_whole(jpeg: Jpeg, pixels: NDArray[np.uint8]) -> None:
    """Raise ImageError("broken") if the data of some pixels is missing, for which decoders fill in gray.

    If the last corner looks gray, the file is decoded again with noise appended: rows that change had no data.
    """
    if not jpeg.every_scan:
        raise ImageError("broken", "the JPEG file is broken: some of its scans are missing")
    if jpeg.ended and _ends_in_picture(pixels, _BLOCK):
        return
    data = jpeg.with_noise
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        other = _pixels(data, image)
    for row in range(0, len(pixels), _STRIP):
        if (wrong := (pixels[row : row + _STRIP] != other[row : row + _STRIP]).any(axis=(1, 2))).any():
            lost = len(pixels) - row - int(wrong.argmax())
            raise ImageError("broken", f"the JPEG file is broken: {lost} of {len(pixels)} rows of pixels are missing")


def _ends_in_picture(pixels: NDArray[np.uint8], block: int) -> bool:
    """Whether the corner that comes last, `block` pixels wide, is not the gray of missing data."""
    corner = pixels[-1, -block:]
    return bool((corner != corner[0, 0]).any()) or corner[0, 0] in (0, 255)


def _reduced(jpeg: Jpeg, image: Image.Image, side: int) -> NDArray[np.uint8] | None:
    """(h, w, 3) BGR as stored, the longer side of `side` pixels or more; None if all pixels have to be looked at."""
    scale = next((scale for scale in _SCALES if max(image.size) >= scale * side), 1)
    if scale == 1 or not jpeg.ended or not is_plain(jpeg.data, image):
        return None
    pixels = _decode_plain(jpeg.data, image, scale)
    if pixels is None or _ends_in_picture(pixels, _BLOCK // scale):
        return pixels
    other = _decode_plain(jpeg.with_noise, image, scale)
    return pixels if other is not None and (pixels == other).all() else None


def _decode_plain(data: bytes, image: Image.Image, scale: int = 1) -> NDArray[np.uint8] | None:
    """Decoded by OpenCV; None if it fails. `scale`: pixels on each side that become one, sides rounded up."""
    flags = _SCALES[scale] | cv2.IMREAD_IGNORE_ORIENTATION
    width, height = (-(-side // scale) for side in image.size)
    if width * height >= LARGE and data.startswith(b"\xff\xd8"):
        once = decoded_once(data, flags, (height, width, 3))
        if once is not None:
            return once
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None or pixels.shape[:2] != (height, width):
        return None
    return pixels.astype(np.uint8, copy=False)


def _decode_any(image: Image.Image) -> NDArray[np.uint8]:
    """Decoded by Pillow, in strips, so that the picture is in memory twice instead of six times."""
    frame = None
    if isinstance(image, GifImageFile):
        frame = image.tile[0].extents  # may cover only a part of the picture; the rest is transparent
    elif isinstance(image, TiffImageFile):
        if image.tag_v2.get(_PLANES) == 2 and max(image.tag_v2[_BITS]) > 8:  # Pillow decodes them wrongly
            raise ImageError("unsupported", "the TIFF file keeps colours of more than 8 bit in separate planes")
        ImageOps.exif_transpose(image, in_place=True)
    elif getattr(image, "default_image", False):
        image.seek(1)
    left, top, right, bottom = frame or (0, 0, *image.size)
    pixels = np.full((image.height, image.width, 3), 255, dtype=np.uint8)
    for row in range(top, bottom, _STRIP):
        strip = image.crop((left, row, right, min(row + _STRIP, bottom)))
        converted = _deep_gray(image, strip) if image.mode.startswith("I;16") else _colours(strip)
        pixels[row : row + len(converted), left:right] = converted
    return pixels


def _colours(strip: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) BGR of a strip in 8 bit."""
    if strip.mode in ("I", "F", "LAB"):
        raise ImageError("unsupported", f"the image has pixels of kind {strip.mode}: what is white is not defined")
    if strip.has_transparency_data:
        over = strip.convert("RGBA")
        strip = Image.new("RGB", strip.size, "white")
        strip.paste(over, mask=over)
    return np.asarray(strip.convert("RGB"))[:, :, ::-1]


def _deep_gray(image: Image.Image, strip: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 1) from 12 or 16 bit gray, scaled; Pillow's own conversion clips at 255."""
    bits, white_is_zero = 16, False
    if isinstance(image, TiffImageFile):
        bits, white_is_zero = image.tag_v2[_BITS][0], image.tag_v2.get(_PHOTOMETRIC) == 0
    values = np.asarray(strip)
    gray = (values >> (bits - 8)).astype(np.uint8)
    if white_is_zero:
        gray = 255 - gray
    gray[values == image.info.get("transparency", -1)] = 255
    return gray[:, :, None]


def _upright(pixels: NDArray[np.uint8], turned: int) -> NDArray[np.uint8]:
    turn = _TURNS.get(turned)
    return np.ascontiguousarray(pixels if turn is None else turn(pixels), dtype=np.uint8)
