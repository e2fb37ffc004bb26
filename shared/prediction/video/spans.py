"""Spans of a timeline from classified frames."""

from collections.abc import Iterator
from itertools import groupby
from typing import Protocol

import numpy as np

from shared.geometry.detections import Detections, Floats, Ints
from shared.labelstudio.frames import frame_count, seconds_of
from shared.labelstudio.regions.timeline import Span, write_spans
from shared.media.video import Frame, Video
from shared.prediction.plan import Found, Plan

_LOOKS = 10.0
"""Sampled times a second, called looks here: finer than annotators work, and few enough for long videos. A frame that
is on the screen at several looks is classified once."""
_SMOOTHED = 5
"""Looks over which the probabilities are averaged: half a second."""
_MIN_LOOKS = 3
"""Shortest span, and shortest gap in a span, in looks: shorter ones are flicker."""
_NOTHING = -1


class Watch(Protocol):
    """Frames sampled at `looks` a second, each once, with the model's detections."""

    def __call__(self, confidence: float, *, looks: float) -> Iterator[tuple[Frame, Detections]]: ...


def find_spans(plan: Plan, video: Video, watch: Watch, rate: float) -> Found:
    """The spans of a video: in each, one label is likelier than the others and than no label.

    `rate`: Label Studio's frames a second.
    """
    names = tuple(dict.fromkeys(label for label in plan.labels if label is not None))
    begins, scores = [], []
    for frame, found in watch(0.0, looks=_LOOKS):
        begins.append(frame.second)
        scores.append(found.class_scores[0] if found.class_scores is not None else [])
    frames = np.arange(1, frame_count(video.duration, rate) + 1)
    looks = np.arange(frame_count(video.duration, _LOOKS)) / _LOOKS  # seconds
    shown = np.maximum(np.searchsorted(begins, looks, side="right") - 1, 0)
    likely = smoothed(by_label(np.array(scores, dtype=np.float64), plan, names)[shown])
    labels = steady(np.where(likely.max(axis=1) >= plan.threshold, leading(likely), _NOTHING))
    look = np.minimum(np.round(seconds_of(frames, rate) * _LOOKS).astype(np.int64), len(looks) - 1)
    spans = [
        Span(
            start=int(frames[place[0]]),
            end=int(frames[place[-1]]),
            label=names[label],
            score=float(likely[look[place], label].mean()),
        )
        for label, place in _runs(labels[look])
        if label != _NOTHING
    ]
    hidden = likely[labels == _NOTHING, : len(names)]
    return Found(write_spans(spans, plan.control), [span.score for span in spans], hidden.max(axis=1).tolist())


def by_label(looks: Floats, plan: Plan, names: tuple[str, ...]) -> Floats:
    """(S, classes) probabilities → (S, L + 1): for each label the sum of its classes; last, the likeliest other class.

    A trained model has one other class: frames without a label.
    """
    table = np.zeros((len(looks), len(names) + 1))
    for class_, label in enumerate(plan.labels):
        if label is not None:
            table[:, names.index(label)] += looks[:, class_]
        else:
            table[:, -1] = np.maximum(table[:, -1], looks[:, class_])
    return np.minimum(table, 1.0)  # a sum may exceed 1 by rounding


def smoothed(table: Floats) -> Floats:
    """(S, L) → (S, L): moving average over `_SMOOTHED` rows."""
    padded = np.pad(table, ((_SMOOTHED // 2, _SMOOTHED // 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED, axis=0)
    mean: Floats = windows.mean(axis=-1)
    return mean


def leading(table: Floats) -> Ints:
    """(S, L + 1) → (S,) index of the likeliest label, or _NOTHING if the last column is the likeliest."""
    best = table.argmax(axis=1)
    return np.where(best == table.shape[1] - 1, _NOTHING, best).astype(np.int64)


def steady(labels: Ints) -> Ints:
    """(S,) labels without flicker: short gaps between equal labels are filled, then short spans are removed."""
    labels = labels.copy()
    shortest = min(_MIN_LOOKS, len(labels))
    runs = _runs(labels)
    for (before, _), (_, place), (after, _) in zip(runs, runs[1:], runs[2:], strict=False):
        if before == after and len(place) < shortest:
            labels[place] = before
    for label, place in _runs(labels):
        if label != _NOTHING and len(place) < shortest:
            labels[place] = _NOTHING
    return labels


def _runs(labels: Ints) -> list[tuple[int, Ints]]:
    """Runs of equal labels: (label, indices)."""
    return [
        (label, np.fromiter((index for index, _ in run), dtype=np.int64))
        for label, run in groupby(enumerate(labels.tolist()), key=lambda pair: pair[1])
    ]
