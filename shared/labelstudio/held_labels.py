"""Labels that annotations hold, and which of them the labeling config does not have any more. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.labelstudio.controls import Control

_OUTSIDE = 20
"""Labels outside the config that are kept, the most frequent first; an import may write any."""
_LONGEST = 200  # characters of such a label


class HeldLabels:
    """Counts, for each control, in how many annotated tasks a label occurs."""

    def __init__(self, controls: Iterable[Control]) -> None:
        self._tasks = {control.name: (control, Counter[str]()) for control in controls}

    def add(self, regions: Sequence[Mapping[str, Any]]) -> None:
        """Count one task by the regions of its annotation."""
        from shared.labelstudio.regions.fields import label_items  # numpy, which the page's sentences do without

        for control, tasks in self._tasks.values():
            tasks.update(
                {label for item, given in label_items(regions, control) for label in _of(item, given, control)}
            )

    def tasks(self) -> dict[str, dict[str, int]]:
        """Control → label → tasks, in the order of the config, then of frequency. Labels that no task holds lack."""
        return {name: _kept(control, tasks) for name, (control, tasks) in self._tasks.items()}


def _of(item: Mapping[str, Any], given: object, control: Control) -> list[str]:
    from shared.labelstudio.regions.fields import words_of

    left_over = control.tag == "TimelineLabels" and not item["value"].get("ranges")
    return [] if left_over else words_of(given) or []


def _kept(control: Control, tasks: Counter[str]) -> dict[str, int]:
    known = {label: tasks[label] for label in control.label_values if label in tasks}
    others = ((label, count) for label, count in tasks.most_common() if label not in known and len(label) <= _LONGEST)
    return known | dict(list(others)[:_OUTSIDE])


def outside(control: Control, tasks: Mapping[str, int]) -> dict[str, int]:
    """Of `tasks` (label → annotated tasks) the labels that the config does not have at this control."""
    return {label: count for label, count in tasks.items() if count and label not in control.label_values}


def outside_sentences(control: Control, tasks: Mapping[str, int]) -> list[str]:
    """One for each such label: `21 annotated tasks hold 'Tree', which is not in the labeling config of 'label'`."""
    return [
        f"{count_of(count)} {label!r}, which is not in the labeling config of {control.name!r}"
        for label, count in outside(control, tasks).items()
    ]


def count_of(tasks: int, also: str = "") -> str:
    """`21 annotated tasks hold`, `21 annotated tasks and v3 hold`."""
    counted = "1 annotated task" if tasks == 1 else f"{tasks} annotated tasks"
    return f"{counted} and {also} hold" if also else f"{counted} hold{'s' if tasks == 1 else ''}"


def way_back(control: Control, label: str) -> str:
    """What to do where the config has lost a label that annotations hold."""
    tag = "Choice" if control.tag == "Choices" else "Label"
    return f"rename it back, or write alias={label!r} to the <{tag}> that it is called now"
