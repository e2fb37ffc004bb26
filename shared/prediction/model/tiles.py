"""A large picture in tiles: they wait for the model a few at a time, so that memory does not grow with the picture."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from shared.geometry.detections import Detections
from shared.geometry.merging import View
from shared.inference.looks import Look
from shared.inference.network import Network
from shared.inference.outputs import Question
from shared.prediction.ports import DeadlineExceeded

Waiting = deque[tuple[Look, "Future[Detections]"]]


def find_in_tiles(
    network: Network,
    ask: Callable[[Question], "Future[Detections]"],
    asked: Question,
    looks: Sequence[Look],
    *,
    ahead: int,
    deadline: float,
) -> Detections:
    """The objects of a picture, with at most `ahead` of its tiles waiting or under way. `ask`: the model.

    `deadline`: time.monotonic() or inf. Nothing more is asked after it, since half a picture would look complete:
    raises DeadlineExceeded, and what `ask`'s futures raise.
    """
    views: list[View] = []
    waiting: Waiting = deque()
    try:
        for look in looks:
            if len(waiting) >= ahead:
                views.append(_next(network, waiting, deadline, len(views), len(looks)))
            waiting.append((look, ask(network.question(asked, look))))
        while waiting:
            views.append(_next(network, waiting, deadline, len(views), len(looks)))
    finally:
        for _, future in waiting:
            future.cancel()
    return network.merged(asked, views)


def _next(network: Network, waiting: Waiting, deadline: float, done: int, count: int) -> View:
    look, future = waiting[0]
    left = deadline - time.monotonic()
    try:
        found = future.result(timeout=min(max(left, 0.0), threading.TIMEOUT_MAX))
    except TimeoutError:
        left = 0.0
    if left <= 0.0:
        raise DeadlineExceeded(
            f"the deadline came after {done} of {count} views of a large picture (LABELLOOP_PREDICT_DEADLINE)"
        )
    waiting.popleft()
    return network.view(look, found)
