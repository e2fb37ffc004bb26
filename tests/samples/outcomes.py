"""What a detector found on some pictures, drawn by chance and always the same."""

import numpy as np

from jobs.train.evidence import Outcome

CLASSES = 3


def drawn_outcomes() -> list[Outcome]:
    """Of 60 pictures, two a task."""
    random = np.random.default_rng(7)
    return [_drawn(random, str(number // 2)) for number in range(60)]


def _drawn(random: np.random.Generator, task: str) -> Outcome:
    there, found = int(random.integers(0, 6)), int(random.integers(0, 9))
    scores = np.sort(random.random(found))[::-1]
    boxes = np.column_stack([random.random((found, 2)) * 50, 50 + random.random((found, 2)) * 50])
    return Outcome(
        task,
        random.integers(0, CLASSES, there),
        random.integers(0, CLASSES, found),
        scores,
        random.random((there, found)),
        boxes,
    )
