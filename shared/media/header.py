"""How large a picture is, by the header of its file: before it is decoded, and whether it can be or not."""

import io

from PIL import Image

Image.MAX_IMAGE_PIXELS = None  # LABELLOOP_IMAGE_MAX_PIXELS is the limit, checked where pictures are decoded


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as stored; (0, 0) for what is no picture: who decodes it says why."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")) as image:
            return image.size
    except Exception:  # noqa: BLE001 - Pillow's plugins raise many kinds
        return 0, 0
