"""TimelineLabels: labelled spans of a video's frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import labelled, numbers
from shared.labelstudio.regions.reading import Reading, finish_reading, region_name


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive frames with a label."""

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


def read_spans(result: Sequence[Mapping[str, Any]], control: Control) -> Reading[list[Span]]:
    """All spans with a label of the control. A region with several labels or ranges is one span for each.

    A region without ranges is ignored: Label Studio stores such regions beside the boxes of a video.
    """
    spans: list[Span] = []
    unusable: list[str] = []
    for region, class_ in labelled(result, control):
        label, ranges = control.label_values[class_], region["value"].get("ranges")
        for given in ranges if isinstance(ranges, list) else [None] if ranges else []:
            frames = numbers(given, "start", "end") if isinstance(given, Mapping) else None
            if frames is None or not all(map(float.is_integer, frames)) or frames[0] > frames[1]:
                unusable.append(f"{region_name(region, label)} has a span that cannot be read")
            else:
                spans.append(Span(int(frames[0]), int(frames[1]), label))
    return finish_reading(spans, {span.label for span in spans}, unusable, result, control)


def labels_at(frames: NDArray[np.int64], spans: Sequence[Span], control: Control) -> NDArray[np.bool_]:
    """(F,) frame numbers → (F, labels) whether a span with the label includes the frame."""
    held = np.zeros((len(frames), len(control.label_values)), dtype=np.bool_)
    for span in spans:
        held[:, control.label_values.index(span.label)] |= (frames >= span.start) & (frames <= span.end)
    return held
