"""What a job fetches images and videos with, by its settings: where they really are, behind what earlier runs kept."""

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
    """The parts."""

    images: ImageCache
    videos: ImageCache
    adopt: Callable[[str], str]  # what stands for an address in frozen annotations
    image_key: Callable[[str], str] | None  # of the image at an address in the store; None: it keeps none


def fetching(settings: Settings, label_studio: LabelStudio, store: ObjectStore, uid: str) -> Fetching:
    """For one project: nobody gets an image of another one by naming its address."""
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
