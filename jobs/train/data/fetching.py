"""Builds the fetchers of images and videos from the settings: caches of earlier runs before the real source."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.train.data.image_cache import Folder, ImageCache, InStore, Place
from jobs.train.data.inline import Adopter, InlineImages
from shared.labelstudio.api import LabelStudio
from shared.media.fetch import ImageFetcher
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import keys


@dataclass(frozen=True, slots=True)
class Fetching:
    """The fetchers of one run."""

    images: ImageCache
    videos: ImageCache
    adopt: Callable[[str], str]  # address → what the snapshot stores for it
    image_key: Callable[[str], str] | None  # address → key of its image in the store; None: images are not kept there


def fetching(settings: Settings, label_studio: LabelStudio, store: ObjectStore, uid: str) -> Fetching:
    """For the project `uid`. Cached images are found by this project only, even by the same address."""
    scope = f"{label_studio.url}\n{uid}"
    here: list[Place] = []
    if settings.image_cache_bytes:
        here.append(Folder(Path(settings.cache_dir) / "images", settings.image_cache_bytes))
    places = [*here, InStore(store, keys.images(uid))] if settings.image_cache_in_store else here
    source = InlineImages(ImageFetcher(settings, label_studio), label_studio)
    videos = InlineImages(ImageFetcher(settings, label_studio, limit="video_max_bytes"), label_studio)
    images = ImageCache(source, places, scope=scope)
    return Fetching(
        images,
        ImageCache(videos, here, scope=f"{scope}\nvideo"),
        Adopter(source, images),
        images.key if settings.image_cache_in_store else None,
    )
