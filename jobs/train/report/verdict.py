"""What a report says first: passed or not, why a person should believe it, and what speaks against it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jobs.train.report.matching import ClassRow
from shared.state.versions import Gate, Manifest
from shared.yolo_task import OBJECTS

_FEW_TASKS, _FEW_OBJECTS = 10, 30
"""Tasks or objects in the val set below which its numbers say little."""
_WIDE = 0.2
"""Width of an interval from which a number says little."""
_SURE, _LIKELY = 0.05, 0.2
"""Probabilities that the version is worse up to which its lead is called clear, and likely."""
_NAMED = 8  # labels


@dataclass(frozen=True, slots=True)
class Verdict:
    """The head of the report."""

    tone: Literal["good", "bad"]
    heading: str
    sentence: str
    sure: str  # how sure that is, in a few words
    cautions: tuple[str, ...]  # sentences


def verdict_of(
    manifest: Manifest, rows: Sequence[ClassRow], names: Sequence[str], *, caveat: str, neither: bool
) -> Verdict:
    """What the report of a version says first.

    `rows`: of the classes of the version. `names`: class index → label. `caveat`: what the gate says of its champion;
    empty: nothing. `neither`: whether it is known that neither of both models learnt from the val set.
    """
    gate = manifest.gate
    me, other = f"v{manifest.version}", gate.against
    objects = OBJECTS[manifest.yolo_task][gate.things != 1]
    place = f"{gate.tasks} {'task' if gate.tasks == 1 else 'tasks'} with {gate.things} {objects}"
    cautions = _cautions(gate, caveat, rows, names)
    if not gate.passed:
        stays = f"{other} stays" if other else "nothing is changed"
        heading = f"{me} did not pass the gate: {stays}"
        return Verdict("bad", heading, f"{_upper(gate.reason)}.", _certainty(gate), cautions)
    if other is None or gate.champion is None or gate.challenger is None:
        heading = f"{me} passed the gate, compared with nothing"
        return Verdict("good", heading, f"{_upper(gate.reason)}.", _certainty(gate), cautions)
    better = gate.challenger > gate.champion
    heading = f"{me} passed the gate: {'better than' if better else 'as good as'} {other}"
    seen = "that neither of them learnt from" if neither and not caveat else "held out from the training"
    no_worse = round(100 * (1 - (gate.worse or 0.0)))
    sentence = (
        f"On the same {place}, {seen}, {gate.metric} is {gate.challenger:.3f} where {other} has {gate.champion:.3f}; "
        f"of 100 other val sets drawn from these tasks, about {no_worse} say that it is no worse."
    )
    return Verdict("good", heading, sentence, _certainty(gate), cautions)


def _certainty(gate: Gate) -> str:
    if gate.challenger is None:
        return "could not be measured"
    if gate.worse is None:
        return "not compared"
    if _is_small(gate):
        return "little evidence"
    doubt = min(gate.worse, 1 - gate.worse)
    if doubt <= _SURE:
        return "clear"
    return "likely" if doubt <= _LIKELY else "too close to tell"


def _cautions(gate: Gate, caveat: str, rows: Sequence[ClassRow], names: Sequence[str]) -> tuple[str, ...]:
    said = []
    if _is_small(gate):
        tasks = f"{gate.tasks} {'task' if gate.tasks == 1 else 'tasks'}"
        said.append(
            f"The val set is small ({tasks}, {gate.things} annotated): look at the pictures more than at the numbers."
        )
    interval = gate.gain or gate.interval
    if interval and interval[1] - interval[0] > _WIDE:
        what, half = "difference" if gate.gain else gate.metric, (interval[1] - interval[0]) / 2
        said.append(f"The {what} is known to ±{half:.2f} only: more annotated tasks make it surer.")
    if caveat:
        said.append(f"{_upper(caveat)}.")
    if unknown := [names[row.class_] or "no label" for row in rows if not row.annotated]:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        said.append(f"The val set holds nothing of {', '.join(unknown[:_NAMED])}{more}: nothing is known of that.")
    return tuple(said)


def _is_small(gate: Gate) -> bool:
    return gate.tasks < _FEW_TASKS or gate.things < _FEW_OBJECTS


def _upper(sentence: str) -> str:
    """With a capital letter, unless it begins with a name like mAP50."""
    return sentence if sentence[1:2].isupper() else sentence[:1].upper() + sentence[1:]
