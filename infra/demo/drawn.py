"""Draws airships over the aerial photograph: objects with exactly known place, shape, ends and kind."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from infra.demo.samples import CACHE, Sample, photograph
from infra.local.processes import StartError
from shared.geometry.detections import Detections, Floats, axes_of, clip_xyxy, envelope

KINDS = ("Cargo", "Mail")
ENDS = ("nose", "tail")
FRAME_RATE = 10.0  # frames a second
_COLORS = ((250, 210, 60), (215, 60, 200))
_RING = np.linspace(0, 2 * np.pi, 24, endpoint=False)


@dataclass(frozen=True, slots=True)
class Airship:
    """An ellipse with a dark nose, seen from above."""

    x: float  # centre, pixels
    y: float
    length: float
    breadth: float
    heading: float  # of the nose, radians clockwise from the right
    kind: int  # index into KINDS

    def along(self, forward: Floats, sideward: Floats) -> Floats:
        """(K,) and (K,) in halves of length and breadth, from the centre → (K, 2) pixels."""
        ahead_and_aside = np.stack([forward * self.length / 2, sideward * self.breadth / 2], axis=1)
        points: Floats = np.array([self.x, self.y]) + ahead_and_aside @ axes_of(np.array([self.heading]))[0]
        return points

    @property
    def ring(self) -> Floats:
        """(24, 2) its outline in pixels."""
        return self.along(np.cos(_RING), np.sin(_RING))

    @property
    def ends(self) -> Floats:
        """(2, 2) its ENDS in pixels."""
        return self.along(np.array([1.0, -1.0]), np.zeros(2))


def pictures(
    count: int, width: int, height: int, *, max_ships: int = 3, seed: int = 0, cache: Path = CACHE
) -> list[Sample]:
    """`count` images of `width` × `height` pixels with 1 to `max_ships` whole airships that do not overlap."""
    ground, _ = photograph(cache=cache)
    random = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        ships = _fleet(random, 1 + number % max_ships, width, height, first_kind=number)
        picture = _draw(_ground(ground, random, width, height), ships)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=95)
        samples.append(Sample(f"{number:02d}", ".jpg", file.getvalue(), (expert(ships, width, height),)))
    return samples


def portraits(count: int, width: int, height: int, *, seed: int = 0, cache: Path = CACHE) -> list[Sample]:
    """`count` images with one airship each, annotated with its kind only."""
    return [
        replace(sample, expert=(kind_of(sample.expert[0]),))
        for sample in pictures(count, width, height, max_ships=1, seed=seed, cache=cache)
    ]


def videos(count: int, width: int, height: int, *, frames: int, seed: int = 0, cache: Path = CACHE) -> list[Sample]:
    """`count` WebM videos of two airships each, which fly straight, so that their boxes move linearly."""
    ground, _ = photograph(cache=cache)
    random = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        scene = _ground(ground, random, width, height)
        flown = _flight(random, _fleet(random, 2, width, height, first_kind=number), frames, width, height)
        truth = tuple(replace(expert(ships, width, height), tracks=np.array([1, 2])) for ships in flown)
        samples.append(Sample(f"{number:02d}", ".webm", _film(scene, flown), truth))
    return samples


def calls(count: int, width: int, height: int, *, frames: int, cache: Path = CACHE) -> list[Sample]:
    """`count` WebM videos in which an airship of one kind follows one of the other; each frame has its kind."""
    ground, _ = photograph(cache=cache)
    random = np.random.default_rng(0)
    samples = []
    for number in range(count):
        scene = _ground(ground, random, width, height)
        left = int(frames * random.uniform(0.35, 0.65))
        flown = [
            ships
            for part, length in enumerate((left, frames - left))
            for ships in _flight(
                random, _fleet(random, 1, width, height, first_kind=number + part), length, width, height
            )
        ]
        truth = tuple(kind_of(expert(ships, width, height)) for ships in flown)
        samples.append(Sample(f"{number:02d}", ".webm", _film(scene, flown), truth))
    return samples


def kind_of(found: Detections) -> Detections:
    """Detections of one airship → the class of the whole image."""
    whole, kind = [0, 0, found.width, found.height], found.classes[:1]
    return Detections.annotated(found.width, found.height, whole, kind, KINDS, class_scores=np.eye(len(KINDS))[kind])


def expert(ships: list[Airship], width: int, height: int) -> Detections:
    """The airships as Detections with every shape."""
    rings = [ship.ring for ship in ships]
    boxes = clip_xyxy(np.array([envelope(ring[None])[0] for ring in rings]).reshape(-1, 4), width, height)
    ends = np.array([ship.ends for ship in ships]).reshape(-1, 2, 2)
    return Detections.annotated(
        width,
        height,
        boxes,
        [ship.kind for ship in ships],
        KINDS,
        rotated=np.array(
            [[ship.x, ship.y, ship.length, ship.breadth, ship.heading % np.pi] for ship in ships], dtype=np.float64
        ).reshape(-1, 5),
        outlines=tuple((ring,) for ring in rings),
        keypoints=np.concatenate([ends, np.ones((len(ships), 2, 1))], axis=2),
    )


def _fleet(random: np.random.Generator, count: int, width: int, height: int, *, first_kind: int) -> list[Airship]:
    ships: list[Airship] = []
    while len(ships) < count:
        length = random.uniform(0.3, 0.45) * min(width, height)
        ship = Airship(
            x=random.uniform(length / 2, width - length / 2),
            y=random.uniform(length / 2, height - length / 2),
            length=length,
            breadth=length * 0.4,
            heading=random.uniform(0, 2 * np.pi),
            kind=(first_kind + len(ships)) % len(KINDS),
        )
        if all(np.hypot(ship.x - other.x, ship.y - other.y) > (length + other.length) / 2 for other in ships):
            ships.append(ship)
    return ships


def _flight(
    random: np.random.Generator, fleet: list[Airship], frames: int, width: int, height: int
) -> list[list[Airship]]:
    """The airships of each frame: each flies straight and stops at the border."""
    far = [random.uniform(0.4, 0.7) * min(width, height) for _ in fleet]
    ways = [_way(ship, length, width, height) for ship, length in zip(fleet, far, strict=True)]
    return [
        [replace(ship, x=ship.x + part * x, y=ship.y + part * y) for ship, (x, y) in zip(fleet, ways, strict=True)]
        for part in np.linspace(0, 1, frames).tolist()
    ]


def _way(ship: Airship, far: float, width: int, height: int) -> tuple[float, float]:
    half = ship.length / 2
    x = np.clip(ship.x + far * np.cos(ship.heading), half, width - half)
    y = np.clip(ship.y + far * np.sin(ship.heading), half, height - half)
    return float(x - ship.x), float(y - ship.y)


def _ground(photo: Image.Image, random: np.random.Generator, width: int, height: int) -> Image.Image:
    left, top = random.integers(0, photo.width - width), random.integers(0, photo.height - height)
    return photo.crop((int(left), int(top), int(left) + width, int(top) + height))


def _draw(picture: Image.Image, ships: list[Airship]) -> Image.Image:
    pen = ImageDraw.Draw(picture)
    for ship in ships:
        pen.polygon([tuple(point) for point in ship.ring.tolist()], fill=_COLORS[ship.kind])
        nose = ship.along(np.array([0.55]), np.zeros(1))[0]
        radius = ship.breadth / 4
        pen.ellipse((nose[0] - radius, nose[1] - radius, nose[0] + radius, nose[1] + radius), fill=(30, 30, 60))
    return picture


@contextmanager
def _without_stderr() -> Iterator[None]:
    """What libraries write themselves, past Python's `sys.stderr`, is lost."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _film(scene: Image.Image, flown: list[list[Airship]]) -> bytes:
    """A WebM file (VP8), which every browser plays. Raises StartError."""
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.webm"
        code = cv2.VideoWriter.fourcc(*"VP80")
        with _without_stderr():  # WebM knows no such code, says OpenCV each time, and takes VP8
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, FRAME_RATE, scene.size)
        if not writer.isOpened():
            raise StartError("this build of OpenCV writes no VP8 videos: install the package opencv-python")
        for ships in flown:
            writer.write(cv2.cvtColor(np.asarray(_draw(scene.copy(), ships)), cv2.COLOR_RGB2BGR))
        writer.release()
        return path.read_bytes()
