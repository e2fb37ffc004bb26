"""From the bytes of an image file to upright pixels.

The header is read first, so an image of too many pixels is refused before a pixel is decoded. OpenCV decodes the plain
cases, as it is the fastest; Pillow does what OpenCV does differently from a browser (palettes, CMYK, GIF, 16 bit).
"""

import io
import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import ImageError

# Without EPS, which starts an interpreter, and without what browsers do not show.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_MAGIC = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8")
_PLAIN_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP")
_PLAIN_MODES = ("L", "RGB")
# What Pillow's plugins raise on bytes that are not what they seem.
_BROKEN = (
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

Image.MAX_IMAGE_PIXELS = None  # LABELLOOP_IMAGE_MAX_PIXELS is the limit, checked below


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """The first frame as (H, W, 3) uint8, blue-green-red, contiguous, turned upright as its EXIF orientation says.

    Transparency is dropped, not blended. Raises ImageError: too_large (pixels), broken, unsupported (no known format).
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(
                    "too_large",
                    f"the image has {width} × {height} pixels, more than {max_pixels} (LABELLOOP_IMAGE_MAX_PIXELS)",
                )
            pixels = _decode_plain(data, image)
            return _decode_any(image) if pixels is None else pixels
    except (UnidentifiedImageError, ImportError) as error:  # ImportError: ultralytics, once imported, makes
        # Pillow look for another decoder in a package that is not installed
        if data.startswith(_MAGIC) or not data:
            raise ImageError("broken", f"the image file ({len(data)} bytes) is broken at its beginning") from error
        raise ImageError("unsupported", f"the file is none of {', '.join(_FORMATS)}") from error
    except (*_BROKEN, cv2.error) as error:
        raise ImageError("broken", f"the image file ({len(data)} bytes) is broken: {type(error).__name__}") from error
    except MemoryError as error:
        raise ImageError("too_large", "there is not enough memory to decode the image") from error


def _decode_plain(data: bytes, image: Image.Image) -> NDArray[np.uint8] | None:
    """By OpenCV, which turns by EXIF itself; None if this is not a plain case or OpenCV cannot."""
    if image.format not in _PLAIN_FORMATS or image.mode not in _PLAIN_MODES:
        return None
    if image.format == "WEBP" and "exif" in image.info:  # OpenCV does not turn WebP, browsers do
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None or sorted(pixels.shape[:2]) != sorted(image.size):
        return None
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _decode_any(image: Image.Image) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bit gray; Pillow's own conversion cuts at 255 instead of scaling
        gray = (np.clip(np.asarray(upright, dtype=np.int64), 0, 65535) >> 8).astype(np.uint8)
        return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    if upright.mode == "F":
        raise ImageError("unsupported", "the image has floating point pixels: what is white in it is not defined")
    rgb = np.asarray(upright.convert("RGB"))
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
