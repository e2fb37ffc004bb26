"""A server of photographs, and a fetcher for which every name is this machine."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import ImageError
from shared.labelstudio.api import LabelStudio
from shared.media.fetch import ImageFetcher
from shared.settings import Settings
from tests.servers.web_server import Handler

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PHOTO = b"\xff\xd8 the bytes of a photograph \xff\xd9"
SOON = 20.0  # seconds: longer than any test should take


def to_loopback(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Every name is this machine, under the address that its name says: `h2.example` is 127.0.0.2."""
    number = host.split(".")[0].removeprefix("h")
    return [(2, (f"127.0.0.{number}" if number.isdigit() and "example" in host else "127.0.0.1", port))]


def fetcher(
    label_studio: LabelStudio | None = None,
    *,
    resolve: Callable[[str, int], Any] = to_loopback,
    allowed: tuple[str, ...] = ("photos.example", "bucket.example"),
    **settings: Any,
) -> ImageFetcher:
    values = {"LABELLOOP_" + name.upper(): value for name, value in settings.items()}
    return ImageFetcher(
        Settings.model_validate(values | {"LABELLOOP_ALLOWED_PRIVATE_HOSTS": allowed}), label_studio, resolve=resolve
    )


def fetch(fetcher: ImageFetcher, value: object, task_id: int | None = 7, seconds: float = SOON) -> bytes:
    try:
        return fetcher.fetch(value, task_id=task_id, deadline=time.monotonic() + seconds)
    finally:
        fetcher.close()


def refusal(fetcher: ImageFetcher, value: object, seconds: float = SOON, task_id: int | None = 7) -> ImageError:
    with pytest.raises(ImageError) as caught:
        fetch(fetcher, value, task_id, seconds)
    return caught.value


def serve_photo(handler: Handler) -> None:
    handler.reply(200, PHOTO)
