"""What a person did to a prediction of one control, object by object. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from infra.effort.likeness import Shape, likeness, shape_of
from infra.effort.objects import Object, objects_of
from shared.labelstudio.controls import Control
from shared.prediction.region_ids import is_smart

Kind = Literal["kept", "moved", "relabelled", "deleted", "added", "smart"]
"""`smart`: drawn by a smart tool, with a click or a rough box. `added`: drawn by hand."""
KINDS: tuple[Kind, ...] = get_args(Kind)
SAME = 0.98
"""Likeness from which an object counts as left where it was."""
SAME_OBJECT = 0.5
"""Likeness from which two objects are taken for the same one where no ids say so."""


class Edit(NamedTuple):
    """One object: what became of it, or where it came from."""

    kind: Kind
    predicted: str = ""  # label of the prediction; of an object that was drawn none
    final: str = ""  # label of the annotation; of a deleted object none
    likeness: float | None = None  # of a moved object, with where it was


def edits_of(
    predicted: Sequence[object], annotated: Sequence[object], control: Control, *, seen: bool = True
) -> list[Edit]:
    """The edits of one control. `predicted`, `annotated`: the `result` of the prediction and of the annotation.

    Label Studio's editor keeps the id of a predicted region and says whether it was changed (`origin`). Where nothing
    in the annotation has an id of the prediction or an origin, as in what other programs write, or if the annotator had
    not `seen` the prediction, objects are paired by likeness, the most alike first. A predicted object without a label
    that nobody gave one counts as none.
    """
    shown, final = objects_of(predicted, control), objects_of(annotated, control)
    told = control.tag == "Choices" or (seen and _is_told(predicted, annotated))
    pairs = _by_id(shown, final) if told else _by_likeness(shown, final, control)
    left = {id(one) for one in final} - {id(other) for _, other in pairs}
    paired = {id(one) for one, _ in pairs}
    edits = [edit for one, other in pairs if (edit := _of_pair(one, other, control))]
    edits += [Edit("deleted", predicted=one.label) for one in shown if id(one) not in paired]
    drawn = [one for one in final if id(one) in left and one.label]
    return edits + [Edit("smart" if _by_tool(one, control) else "added", final=one.label) for one in drawn]


def _by_tool(one: Object, control: Control) -> bool:
    """Whether a smart tool drew it; what is chosen for a region that one drew is chosen by hand."""
    return control.tag != "Choices" and is_smart(one.id)


def _of_pair(one: Object, other: Object, control: Control) -> Edit | None:
    if not other.label:
        return Edit("deleted", predicted=one.label) if one.label else None
    if one.label != other.label:
        return Edit("relabelled", one.label, other.label)
    if other.untouched:
        return Edit("kept", one.label, other.label)
    alike = likeness(shape_of(one, control), shape_of(other, control))
    return Edit("kept" if alike >= SAME else "moved", one.label, other.label, alike)


def _is_told(predicted: Iterable[object], annotated: Iterable[object]) -> bool:
    """Whether the annotation says what came of the prediction."""
    ids = {item.get("id") for item in predicted if isinstance(item, Mapping)} - {None, ""}
    return any(isinstance(item, Mapping) and ("origin" in item or item.get("id") in ids) for item in annotated)


def _by_id(shown: Sequence[Object], final: Sequence[Object]) -> list[tuple[Object, Object]]:
    known = {one.id: one for one in shown if one.id}
    found: list[tuple[Object, Object]] = []
    for other in final:
        if other.id and (one := known.pop(other.id, None)):
            found.append((one, other))
    return found


def _by_likeness(shown: Sequence[Object], final: Sequence[Object], control: Control) -> list[tuple[Object, Object]]:
    shapes: tuple[list[Shape | None], ...] = tuple([shape_of(one, control) for one in each] for each in (shown, final))
    alike = [
        (likeness(shape, its_shape), one.label == other.label, row, column)
        for row, (one, shape) in enumerate(zip(shown, shapes[0], strict=True))
        for column, (other, its_shape) in enumerate(zip(final, shapes[1], strict=True))
    ]
    rows, columns, found = set[int](), set[int](), list[tuple[Object, Object]]()
    for value, _, row, column in sorted(alike, key=lambda each: each[:2], reverse=True):
        if value >= SAME_OBJECT and row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            found.append((shown[row], final[column]))
    return found
