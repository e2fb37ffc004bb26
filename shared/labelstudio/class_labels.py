"""Which label a class, or a point, of a model means. Pure.

A version that was trained on a project knows its labels as they are written: nothing else means them. Strangers'
weights have names of their own, in which only what is unambiguous is found again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from shared.labelstudio.controls import Control, Label

_Claims = dict[str, dict[str, None]]
"""Name of a class → the labels that it could mean."""


def class_labels(names: Iterable[str], control: Control, *, trained: bool) -> list[str | None]:
    """For each class name of a model the label that it means in this control, or None.

    `trained`: on this project. Of strangers' weights a label's `predicted_values` win; otherwise names are compared
    with its value, and with what annotators see instead of an alias. What is written alike comes before what differs
    in case; what several labels claim means none (`unclear_classes`).
    """
    if trained:
        known = set(control.class_names)
        return [name if name in known else None for name in names]
    claims = _all_claims(control.classes)
    return [_only(_claimed(name, claims)) for name in names]


def unclear_classes(names: Iterable[str], control: Control) -> dict[str, tuple[str, ...]]:
    """Classes of strangers' weights that mean nothing because several labels claim them: name → those labels."""
    claims = _all_claims(control.classes)
    found = {name: _claimed(name, claims) for name in names}
    return {name: labels for name, labels in found.items() if len(labels) > 1}


def rivals(labels: Sequence[Label]) -> list[tuple[str, ...]]:
    """Labels that one class of strangers' weights could mean, where only the way it is written would tell."""
    groups = (tuple(claimed) for claims in _all_claims(labels) for claimed in claims.values())
    return list(dict.fromkeys(group for group in groups if len(group) > 1))


def point_labels(
    names: Sequence[str], count: int, control: Control, class_name: str, class_label: str | None, *, trained: bool
) -> list[str | None]:
    """For each of the `count` points of a model's class its label, or None.

    `names`: of the points, as far as the model has any. A version that was trained on this project knows its labels by
    them, so it keeps their meaning when labels are added or reordered.

    Strangers' weights do where they are unambiguous; labels that they know no point for find it by `model_index`, if
    their `predicted_values` are of this class or of none. If they know none, no label has an index, there are as many
    points as labels, and the class means a label (`class_label`): in the order of the labels.
    """
    named = [*names[:count], *[""] * (count - len(names))]
    if trained:
        known = set(control.label_values)
        return [name if name in known else None for name in named]
    labels = _named_points(named, control.labels)
    told = {name.casefold() for name in named} & {one.value.casefold() for one in control.labels}
    if not told and count == len(control.labels) and all(one.model_index is None for one in control.labels):
        return list(control.point_names) if class_label is not None else labels
    known = {label for label in labels if label is not None}
    same = {one.casefold() for one in (class_name, class_label) if one}
    for one in control.labels:
        meant = {value.casefold() for value in one.predicted_values}
        index = count if one.model_index is None else one.model_index
        if one.value not in known and index < count and labels[index] is None and (not meant or meant & same):
            labels[index] = one.value
    return labels


def _named_points(names: Sequence[str], labels: Sequence[Label]) -> list[str | None]:
    """By name alone. A label that several points could mean is the one's that is written alike, or nobody's."""
    claims = _claims({label.value: (label.value,) for label in labels})
    meant = [_only(_claimed(name, claims)) for name in names]
    rivals = Counter(meant)
    return [
        label if name == label or (label not in names and rivals[label] == 1) else None
        for name, label in zip(names, meant, strict=True)
    ]


def _all_claims(labels: Sequence[Label]) -> tuple[_Claims, ...]:
    """The closest ones first: as written before any case, predicted_values before names."""
    predicted = _claims({label.value: label.predicted_values for label in labels})
    named = _claims({label.value: (label.value, label.shown or label.value) for label in labels})
    return predicted[0], named[0], predicted[1], named[1]


def _claims(names: Mapping[str, Iterable[str]]) -> tuple[_Claims, _Claims]:
    """Label → names that mean it, turned round: as written, and without regard to case."""
    written: _Claims = {}
    folded: _Claims = {}
    for label, claimed in names.items():
        for name in claimed:
            written.setdefault(name, {})[label] = None
            folded.setdefault(name.casefold(), {})[label] = None
    return written, folded


def _claimed(name: str, claims: Sequence[_Claims]) -> tuple[str, ...]:
    """The labels that claim a name most closely. `claims`: the first half as written, the rest without case."""
    for place, each in enumerate(claims):
        if found := each.get(name if 2 * place < len(claims) else name.casefold()):
            return tuple(found)
    return ()


def _only(labels: tuple[str, ...]) -> str | None:
    return labels[0] if len(labels) == 1 else None
