"""Image files that are refused, made here, with the reason."""

import zlib
from functools import cache

import numpy as np
from PIL import Image

from tests.samples.image_bytes import encoded, png_chunk, png_header, tiff
from tests.samples.image_files import GRAY, PICTURE, deep


@cache
def refused() -> dict[str, tuple[bytes, str, str]]:
    """Name → file, reason, and a piece of the sentence that says it."""
    pixels = np.asarray(GRAY)[:, :, None]
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    scans = encoded(PICTURE, "JPEG", progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    files = {
        "no byte": (b"", "broken", "0 bytes"),
        "zeros": (bytes(1000), "unsupported", "none of JPEG, PNG"),
        "a page to log in": (b"<html>please log in</html>", "unsupported", "none of JPEG, PNG"),
        "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported", "none of"),
        "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported", "none of"),
        "AVIF": (encoded(PICTURE, "AVIF"), "unsupported", "none of"),
        "JPEG 2000": (encoded(PICTURE, "JPEG2000"), "unsupported", "none of"),
        "JPEG's first bytes": (b"\xff\xd8\xff", "broken", "beginning"),
        "PNG's first bytes before a JPEG": (b"\x89PNG\r\n\x1a\n" + encoded(PICTURE, "JPEG"), "broken", "beginning"),
        "PNG of 60,000×60,000 in a hundred bytes": (_bomb(60_000), "too_large", "LABELLOOP_IMAGE_MAX_PIXELS"),
        "PNG of 2³¹ pixels a side": (_bomb(2**31 - 1), "too_large", "LABELLOOP_IMAGE_MAX_PIXELS"),
        "PNG of a line of a million pixels and one": (_bomb(1, 1_000_001), "too_large", "1000000 on a side"),
        "TIFF with a tile of 65,000×65,000": (tiff(pixels, tile=65_000), "too_large", "LABELLOOP_IMAGE_MAX_PIXELS"),
        "JPEG of 110 scans": (scans[:-2] + last * 110 + scans[-2:], "too_large", "scans"),
        "TIFF of floating point": (tiff(pixels.astype(np.float32)), "unsupported", "kind F"),
        "TIFF of 32 bit": (tiff(pixels.astype(np.uint32)), "unsupported", "kind I"),
        "TIFF of 16 bit in planes": (tiff(deep(PICTURE), planes=True), "unsupported", "planes"),
        "TIFF of five channels": (tiff(np.repeat(pixels, 5, axis=2), photometric=1), "broken", "rare kind"),
    }
    for format_ in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"):
        data = encoded(noise, format_, **({"compression": "tiff_lzw"} if format_ == "TIFF" else {}))
        for percent in (2, 30, 60, 90):
            cut = data[: max(4, len(data) * percent // 100)]
            files[f"{format_} cut off at {percent} %"] = (cut, "broken", "broken")
    for name, options in {"JPEG": {}, "JPEG progressive": {"progressive": True}, "JPEG CMYK": {}}.items():
        picture = noise.convert("CMYK") if "CMYK" in name else noise
        data = encoded(picture, "JPEG", **options)
        for percent in (60, 90):
            cut = data[: len(data) * percent // 100]
            files[f"{name} cut off at {percent} %, zeros behind"] = (cut + bytes(5000), "broken", "are missing")
            if not options:  # a progressive one whose last scan ends early is whole, only less sharp
                files[f"{name} cut off at {percent} %, ended"] = (
                    cut + b"\xff\xd9",
                    "broken",
                    "rows of pixels are missing",
                )
        files[f"{name} without its last 5 bytes"] = (data[:-7], "broken", "rows of pixels are missing")
    first = scans.index(b"\xff\xda", scans.index(b"\xff\xda") + 2)
    files["JPEG progressive after its first scan"] = (scans[:first], "broken", "some of its scans are missing")
    comment = b"\xff\xfe\0\2"
    files["JPEG of 20,000 comments"] = (scans[:2] + comment * 20_000 + scans[2:], "too_large", "segments")
    return files


def _bomb(width: int, height: int | None = None) -> bytes:
    return png_header(width, height or width) + png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b"")
