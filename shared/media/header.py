"""The size of a picture from the header of its file, without decoding it."""

import io

from PIL import Image

Image.MAX_IMAGE_PIXELS = None  # LABELLOOP_IMAGE_MAX_PIXELS is the limit, checked where pictures are decoded


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored; (0, 0) for a file that is no picture: decoding it raises the error."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")) as image:
            return image.size
    except Exception:  # noqa: BLE001 - Pillow's plugins raise many kinds
        return 0, 0
