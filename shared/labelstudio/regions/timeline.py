"""TimelineLabels: spans of a video's frames, each with a label. A span's first and last frame both belong to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry import FAR
from shared.labelstudio.config import Control


@dataclass(frozen=True, slots=True)
class Span:
    """Frames that mean the same."""

    start: int  # Label Studio's frame numbers, both inclusive
    end: int
    label: str
    score: float = 1.0  # 0–1


def write_spans(spans: Sequence[Span], control: Control) -> list[dict[str, Any]]:
    """One region a span: Label Studio's editor reads only the first range of a region."""
    return [
        {
            "id": f"{control.name}-{number}",
            "from_name": control.name,
            "to_name": control.to_name,
            "type": "timelinelabels",
            "score": span.score,
            "value": {"ranges": [{"start": span.start, "end": span.end}], "timelinelabels": [span.label]},
        }
        for number, span in enumerate(spans)
    ]


def read_spans(result: Sequence[Mapping[str, Any]], control: Control) -> list[Span]:
    """All spans with a label of the control. A region with several labels or ranges counts once for each."""
    spans = []
    for region in result:
        value = region.get("value")
        if region.get("from_name") != control.name or not isinstance(value, Mapping):
            continue
        ranges, given = value.get("ranges"), value.get("timelinelabels")
        labels = [label for label in control.label_values if isinstance(given, list) and label in given]
        for span in ranges if isinstance(ranges, list) else ():
            try:
                start, end = int(span["start"]), int(span["end"])
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
            if abs(start) > FAR or abs(end) > FAR or end < start:
                continue
            spans += [Span(start, end, label) for label in labels]
    return spans


def labels_held(frames: NDArray[np.int64], spans: Sequence[Span], control: Control) -> NDArray[np.bool_]:
    """(F,) frame numbers → (F, C) which of the control's labels hold in each."""
    held = np.zeros((len(frames), len(control.label_values)), dtype=np.bool_)
    for span in spans:
        held[:, control.label_values.index(span.label)] |= (frames >= span.start) & (frames <= span.end)
    return held
