"""Turns images into files in formats that ultralytics reads: upright, not much larger than a model needs."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from shared.errors import ImageError
from shared.media.decode import BROKEN, decode, decode_for, is_plain, only_picture
from shared.media.fit import MIN_SIDE, Side, Sized, kept_size, shrunk, squared

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
"""Format, as Pillow names it → ending of its files."""
_ORIENTATION = ExifTags.Base.Orientation


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file for ultralytics."""

    suffix: str
    data: bytes
    width: int  # pixels of the original, upright
    height: int
    smaller: bool = False  # whether the file has fewer pixels


def upright(data: bytes, max_pixels: int, image_size: int | None = None) -> ImageFile:
    """Turn a fetched image into a file in which ultralytics reads the same pixels as predict. Raises ImageError.

    - Much larger than `image_size` (pixels of the longer side; None: no limit): shrunk once, instead of in every epoch,
      to a JPEG file whose comment is the original size.
    - Read alike by ultralytics: the bytes stay, without data after the image's end, for which ultralytics would write
      the JPEG file anew.
    - Else: the decoded pixels, as JPEG if the image was JPEG, else as PNG.
    """
    return file_of(data, decoded(data, max_pixels), image_size)


def decoded(data: bytes, max_pixels: int, side: Side = None) -> Sized:
    """As `decode_for`; also raises ImageError for an image that is too small to be learnt from."""
    seen = decode_for(data, max_pixels, side)
    height, width = seen.whole
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            "unsupported", f"{width}×{height} pixels: images need {MIN_SIDE} on each side to be trained on"
        )
    return seen


def file_of(data: bytes, seen: Sized, image_size: int | None = None) -> ImageFile:
    """See `upright`. `seen`: the image, decoded."""
    height, width = seen.whole
    if image_size and kept_size(width, height, image_size) != (width, height):
        comment = f"{width}x{height}".encode()
        data = _encoded(shrunk(seen.pixels, image_size), "JPEG", comment=comment)
        return ImageFile(".jpg", data, width, height, smaller=True)
    alone = only_picture(data)
    kind, same = _kind(alone)
    if same:
        return ImageFile(SUFFIXES[kind], alone, width, height)
    pixels = seen.pixels if seen.pixels.shape[:2] == seen.whole else decode(data, width * height)
    format_ = "JPEG" if kind in ("JPEG", "MPO") else "PNG"
    return ImageFile(SUFFIXES[format_], _encoded(pixels, format_), width, height)


def write_part(pixels: NDArray[np.uint8], path: Path, image_size: int) -> None:
    """Write a part of an image as JPEG, shrunk where it is much larger than `image_size`. Raises OSError."""
    path.write_bytes(_encoded(shrunk(pixels, image_size), "JPEG"))


def write_square(image: Path, square: Path, size: int, *, reduced: bool) -> None:
    """Write `image`, a file of ImageFiles, as the PNG square of `size` pixels that classifiers see. Raises OSError.

    `reduced`: decoded as predict decodes a picture that is asked about as a whole.
    """
    try:
        pixels, whole = decode_for(image.read_bytes(), sys.maxsize, size if reduced else None)
    except ImageError as error:
        raise OSError(f"{image} cannot be read again: {error}") from error
    written = cv2.imencode(".png", squared(pixels, size, whole), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    square.write_bytes(written[1].tobytes())


def _encoded(pixels: NDArray[np.uint8], format_: str, **more: Any) -> bytes:
    options = {"quality": 95, "subsampling": 0} if format_ == "JPEG" else {"compress_level": 1}
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(out, format_, **options, **more)
    return out.getvalue()


def _kind(data: bytes) -> tuple[str, bool]:
    """(format, whether ultralytics, which reads with OpenCV, decodes the same pixels as predict)."""
    with Image.open(io.BytesIO(data)) as image:
        kind = image.format or ""
        if kind not in SUFFIXES or not is_plain(data, image):
            return kind, False
        try:
            # OpenCV and ultralytics also follow orientations that browsers ignore: of any number type, after the
            # pixels, in WebP, in XMP.
            turned = b"eXIf" in data if kind == "PNG" else image.getexif().get(_ORIENTATION, 1) not in (0, 1)
            image.verify()  # ultralytics silently leaves an image out that fails this
        except BROKEN:
            return kind, False
    return kind, not turned
