"""Which label of a control a class, or a keypoint, of a model stands for. Pure.

The classes of a version that was trained on the project are called exactly like the labels. Base weights have class
names of their own: they are matched to labels where the match is unambiguous.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from shared.labelstudio.controls import Control, Label

_Claims = dict[str, dict[str, None]]
"""Name of a class → the labels that it could stand for (a dict as an ordered set)."""


def class_labels(names: Iterable[str], control: Control, *, trained: bool) -> list[str | None]:
    """For each class name of a model the label of this control that it stands for, or None.

    `trained`: the model was trained on this project, so names must be equal. Otherwise (base weights) a name is matched
    with the labels' `predicted_values`, then with their value and with the text that annotators see instead of an
    alias; an exact match comes before one that ignores case. A name that matches several labels gives None
    (`unclear_classes`).
    """
    if trained:
        known = set(control.class_names)
        return [name if name in known else None for name in names]
    claims = _all_claims(control.classes)
    return [_only(_claimed(name, claims)) for name in names]


def unclear_classes(names: Iterable[str], control: Control) -> dict[str, tuple[str, ...]]:
    """Classes of base weights that match several labels, and so stand for none: name → those labels."""
    claims = _all_claims(control.classes)
    found = {name: _claimed(name, claims) for name in names}
    return {name: labels for name, labels in found.items() if len(labels) > 1}


def rivals(labels: Sequence[Label]) -> list[tuple[str, ...]]:
    """Groups of labels that one class name of base weights could match (labels that differ only in case, say)."""
    groups = (tuple(claimed) for claims in _all_claims(labels) for claimed in claims.values())
    return list(dict.fromkeys(group for group in groups if len(group) > 1))


def point_labels(
    names: Sequence[str], count: int, control: Control, class_name: str, class_label: str | None, *, trained: bool
) -> list[str | None]:
    """For each of the `count` keypoints of a model's class its label, or None.

    `names`: the names of the points; a model may have fewer. A version that was trained on this project is matched by
    exact name, so it stays correct when labels are added or reordered.

    Base weights are matched by name where it is unambiguous. A label without a match takes the point at its
    `model_index`, if its `predicted_values` are empty or name this class. If no name matches, no label has an index,
    there are as many points as labels, and the class stands for a label (`class_label`): labels in their order.
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
    """For each point name its label, or None. Of several points that match a label only an exact match gets it."""
    claims = _claims({label.value: (label.value,) for label in labels})
    meant = [_only(_claimed(name, claims)) for name in names]
    rivals = Counter(meant)
    return [
        label if name == label or (label not in names and rivals[label] == 1) else None
        for name, label in zip(names, meant, strict=True)
    ]


def _all_claims(labels: Sequence[Label]) -> tuple[_Claims, ...]:
    """The closest matches first: exact before ignoring case, predicted_values before names."""
    predicted = _claims({label.value: label.predicted_values for label in labels})
    named = _claims({label.value: (label.value, label.shown or label.value) for label in labels})
    return predicted[0], named[0], predicted[1], named[1]


def _claims(names: Mapping[str, Iterable[str]]) -> tuple[_Claims, _Claims]:
    """Inverts label → names that stand for it: once with exact names, once with casefolded ones."""
    written: _Claims = {}
    folded: _Claims = {}
    for label, claimed in names.items():
        for name in claimed:
            written.setdefault(name, {})[label] = None
            folded.setdefault(name.casefold(), {})[label] = None
    return written, folded


def _claimed(name: str, claims: Sequence[_Claims]) -> tuple[str, ...]:
    """The labels of the closest match of a name. `claims`: from `_all_claims`; the second half is casefolded."""
    for place, each in enumerate(claims):
        if found := each.get(name if 2 * place < len(claims) else name.casefold()):
            return tuple(found)
    return ()


def _only(labels: tuple[str, ...]) -> str | None:
    return labels[0] if len(labels) == 1 else None
