"""Classes of single frames → spans of a timeline."""

from collections.abc import Iterator
from itertools import groupby
from typing import Protocol

import numpy as np

from functions.predict.plan import Found, Plan
from shared.geometry.detections import Detections, Floats, Ints
from shared.labelstudio.frames import frame_count, seconds_of
from shared.labelstudio.regions.timeline import Span, write_spans
from shared.media.video import Frame, Video

_LOOKS = 10.0
"""Looks a second: nobody marks tenths of a second, and so long videos are done in time. A frame that stays for many of
them is classified once."""
_SMOOTHED = 5
"""Looks over which the probabilities are averaged: half a second."""
_MIN_FRAMES = 3
"""Looks that a span, or a gap in one, lasts at least: shorter ones are flicker."""
_NOTHING = -1


class Watch(Protocol):
    """The frames that so many looks a second meet, each once, and what the model finds in each."""

    def __call__(self, confidence: float, *, looks: float) -> Iterator[tuple[Frame, Detections]]: ...


def find_spans(plan: Plan, video: Video, watch: Watch, rate: float) -> Found:
    """One region a span of the label that is likelier than all others, and than nothing. `rate`: Label Studio's."""
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
    """(S, classes) probabilities → (S, L + 1): of each label the sum of its classes, and of the likeliest other class.

    A trained model has one other class, that of frames without any label.
    """
    table = np.zeros((len(looks), len(names) + 1))
    for class_, label in enumerate(plan.labels):
        if label is not None:
            table[:, names.index(label)] += looks[:, class_]
        else:
            table[:, -1] = np.maximum(table[:, -1], looks[:, class_])
    return np.minimum(table, 1.0)  # rounded, a sum may be more


def smoothed(table: Floats) -> Floats:
    """(S, L) → the same, each row the mean of those around it."""
    padded = np.pad(table, ((_SMOOTHED // 2, _SMOOTHED // 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED, axis=0)
    mean: Floats = windows.mean(axis=-1)
    return mean


def leading(table: Floats) -> Ints:
    """(S, L + 1) → (S,) the likeliest label, or _NOTHING where the last column is."""
    best = table.argmax(axis=1)
    return np.where(best == table.shape[1] - 1, _NOTHING, best).astype(np.int64)


def steady(labels: Ints) -> Ints:
    """(S,) labels without flicker: short gaps are filled if the same label is on both sides, short spans removed."""
    labels = labels.copy()
    least = min(_MIN_FRAMES, len(labels))
    runs = _runs(labels)
    for (before, _), (_, place), (after, _) in zip(runs, runs[1:], runs[2:], strict=False):
        if before == after and len(place) < least:
            labels[place] = before
    for label, place in _runs(labels):
        if label != _NOTHING and len(place) < least:
            labels[place] = _NOTHING
    return labels


def _runs(labels: Ints) -> list[tuple[int, Ints]]:
    """Label and indices of every run of the same label."""
    return [
        (label, np.fromiter((index for index, _ in run), dtype=np.int64))
        for label, run in groupby(enumerate(labels.tolist()), key=lambda pair: pair[1])
    ]
