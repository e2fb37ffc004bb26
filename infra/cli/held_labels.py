"""In how many annotated tasks each label stands: by the last run, and by Label Studio, which is asked label by label.

It is asked about labels that the config does not have, and before the first run about those that it has.
"""

from collections import Counter

from infra.cli.checks import Project
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import label_holder
from shared.objectstore import ObjectStore
from shared.side_by_side import side_by_side
from shared.state.jobs import Jobs

_MOST = 20  # labels of a control that Label Studio is asked about
_AT_ONCE = 4  # it reads all annotations for each


def held_labels(label_studio: LabelStudio, store: ObjectStore, project: Project) -> dict[str, dict[str, int]]:
    """Control → label → annotated tasks, with labels that the config does not have. Raises StoreError.

    Of a control with too many labels, and where Label Studio does not answer, what the last run read; a control that
    lacks was never counted.
    """
    baseline = Jobs(store, project.uid).read().baseline
    read = baseline.labels if baseline else {}
    try:
        drawn = label_studio.drawn_labels(project.id)
        return {
            control.name: held
            for control in project.controls
            if (held := _held(label_studio, project, control, read.get(control.name), drawn)) is not None
        }
    except LabelStudioError:
        return read


def _held(
    label_studio: LabelStudio,
    project: Project,
    control: Control,
    read: dict[str, int] | None,
    drawn: dict[str, list[str]],
) -> dict[str, int] | None:
    holder, _ = label_holder(control)
    drawn_or_read = dict.fromkeys([*(read or ()), *drawn.get(holder, ())])
    lost = [label for label in drawn_or_read if label not in control.label_values]
    alike = Counter(label.casefold() for label in (*control.label_values, *lost))
    wanted = [*(control.label_values if read is None else ()), *lost]
    asked = [label for label in wanted if alike[label.casefold()] == 1]  # others may not be told apart
    if len(asked) > _MOST or (read is None and len(asked) < len(wanted)):
        return read
    counts = side_by_side(
        lambda label: label_studio.tasks_with_label(project.id, holder, label), asked, at_once=_AT_ONCE
    )
    held = {**(read or {}), **dict(zip(asked, counts, strict=True))}
    return {label: count for label, count in held.items() if count}
