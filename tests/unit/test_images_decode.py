"""Decoding: every format that Label Studio shows, upright, and bounded."""

import contextlib
import io
import random
import struct
import warnings
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.errors import ImageError
from shared.images.decode import decode

ENOUGH = 10_000_000
# Large even squares of colour, so that lossy formats keep them apart, and no two corners alike.
SQUARES = np.random.default_rng(5).integers(0, 256, (3, 5, 3), dtype=np.uint8)
PICTURE = Image.fromarray(np.kron(SQUARES, np.ones((16, 16, 1), dtype=np.uint8)))  # 80 × 48


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def reference(data: bytes) -> NDArray[np.uint8]:
    """Pillow's own upright picture, blue-green-red."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))[..., ::-1]


def assert_same(pixels: NDArray[np.uint8], expected: NDArray[np.uint8], tolerance: int = 2) -> None:
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= tolerance


@pytest.mark.parametrize("orientation", range(10))  # 0 and 9 mean nothing
@pytest.mark.parametrize(
    ("format_", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("WEBP", "RGB"),
        ("TIFF", "RGB"),
    ],
)
def test_turned_upright_as_exif_says(format_: str, mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(PICTURE.convert(mode), format_, exif=exif, **options)
    expected = reference(data)
    assert expected.shape[:2] == ((80, 48) if orientation in (5, 6, 7, 8) else (48, 80))
    assert_same(decode(data, ENOUGH), expected)


@pytest.mark.parametrize(
    ("format_", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "L"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
        ("TIFF", "RGB"),
        ("TIFF", "CMYK"),
        ("TIFF", "L"),
        ("TIFF", "1"),
        ("BMP", "RGB"),
        ("BMP", "L"),
        ("GIF", "P"),
        ("GIF", "L"),
    ],
)
def test_formats_and_modes(format_: str, mode: str) -> None:
    data = encoded(PICTURE.convert(mode), format_)
    assert_same(decode(data, ENOUGH), reference(data))


def test_colours_are_blue_green_red() -> None:
    for format_ in ("PNG", "GIF", "TIFF"):
        assert decode(encoded(Image.new("RGB", (2, 2), (255, 128, 0)), format_), ENOUGH)[0, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_is_scaled_not_cut(channels: int) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (6, 8, channels), dtype=np.uint16)
    _, data = cv2.imencode(".png", deep)
    expected = deep[..., :3] if channels > 1 else np.repeat(deep, 3, axis=2)
    assert_same(decode(data.tobytes(), ENOUGH), (expected >> 8).astype(np.uint8), tolerance=0)


def test_transparency_is_dropped() -> None:
    assert decode(encoded(Image.new("RGBA", (2, 2), (10, 20, 30, 0)), "PNG"), ENOUGH)[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "TIFF"])
def test_first_of_several_frames(format_: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ((255, 0, 0), (0, 0, 255))]
    options: dict[str, Any] = {"lossless": True} if format_ == "WEBP" else {}
    data = encoded(frames[0], format_, save_all=True, append_images=frames[1:], **options)
    assert decode(data, ENOUGH)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_one_pixel(format_: str) -> None:
    assert decode(encoded(Image.new("RGB", (1, 1)), format_), ENOUGH).shape == (1, 1, 3)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_truncated_is_broken(format_: str, part: float) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    data = encoded(noise, format_, **({"compression": "tiff_lzw"} if format_ == "TIFF" else {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what it cannot read, before it fails
        with pytest.raises(ImageError) as caught:
            decode(data[: max(4, int(len(data) * part))], ENOUGH)
    assert caught.value.reason == "broken"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "broken"),
        (b"\xff\xd8\xff", "broken"),
        (b"<html>please log in</html>", "unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported"),  # would start Ghostscript
        (bytes(1000), "unsupported"),
    ],
)
def test_no_image(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data, ENOUGH)
    assert caught.value.reason == reason


def test_floating_point_pixels_are_unsupported() -> None:
    with pytest.raises(ImageError) as caught:
        decode(encoded(PICTURE.convert("F"), "TIFF"), ENOUGH)
    assert caught.value.reason == "unsupported"


class TestPixels:
    def test_limit_is_inclusive(self) -> None:
        data = encoded(PICTURE, "PNG")
        assert decode(data, 80 * 48).shape == (48, 80, 3)
        with pytest.raises(ImageError, match=r"80 × 48.*LABELLOOP_IMAGE_MAX_PIXELS") as caught:
            decode(data, 80 * 48 - 1)
        assert caught.value.reason == "too_large"

    @pytest.mark.parametrize("side", [20_000, 60_000, 2**31 - 1])
    def test_bomb_is_refused_by_its_header(self, side: int) -> None:
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(bytes(100)))
            + chunk(b"IEND", b"")
        )
        with pytest.raises(ImageError) as caught:
            decode(data, 200_000_000)
        assert caught.value.reason == "too_large"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_damaged_files_end_in_pixels_or_an_image_error(format_: str) -> None:
    chance = random.Random(format_)
    whole = encoded(PICTURE, format_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(200):
            damaged = bytearray(whole)
            for _ in range(chance.choice((1, 3, 10))):
                damaged[chance.randrange(min(len(damaged), chance.choice((60, 10_000))))] = chance.randrange(256)
            del damaged[chance.choice((len(damaged), chance.randrange(len(damaged)))) :]
            with contextlib.suppress(ImageError):
                assert decode(bytes(damaged), 1_000_000).shape[2] == 3
