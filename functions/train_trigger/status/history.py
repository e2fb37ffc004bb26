"""The versions of controls: what their pointers name, what is served, and the newest manifests.

Read in two rounds of questions that are asked side by side, however many versions there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from functions.train_trigger.status.outcome import Outcome, outcome_of
from shared.errors import NotFound, StoreRefusal
from shared.side_by_side import AT_ONCE, side_by_side
from shared.state.registry import Registry
from shared.state.versions import Manifest, Pointer


@dataclass(frozen=True, slots=True)
class Version:
    """One version, and what became of it."""

    manifest: Manifest
    pointer: bool  # the pointer names it
    serving: bool
    rejected: bool  # its file failed verification in predict, or was deleted
    deleted: bool
    note: str  # that somebody made; "": nobody did
    rolled_back: bool  # a person left it
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class History:
    """One control's versions."""

    name: str
    pointer: Pointer | None
    serving: Manifest | None  # differs from the pointer if that version failed verification
    numbers: tuple[int, ...]  # of all versions, ascending
    versions: tuple[Version, ...]  # those that were read, oldest first
    unreadable: tuple[str, ...] = ()  # a sentence for each record of it that is no valid one
    known: bool = True  # False: the pointer, or the version that it names, is no valid record


def read_history(
    registry: Registry, names: Sequence[str], *, newest: int | None, before: int | None = None, at_once: int = AT_ONCE
) -> list[History]:
    """The histories of several controls, each with its `newest` versions (None: all), older than `before`."""
    return read_history_and(registry, names, lambda: None, newest=newest, before=before, at_once=at_once)[0]


def read_history_and(
    registry: Registry,
    names: Sequence[str],
    also: Callable[[], Any],
    *,
    newest: int | None,
    before: int | None = None,
    at_once: int = AT_ONCE,
) -> tuple[list[History], Any]:
    """As `read_history`; beside it asks `also`, and answers what that answers."""
    questions: list[Callable[[], Any]] = [also]
    for name in names:
        pointer = partial(_or_refusal, registry.pointer)
        asks = (pointer, registry.rejected, registry.numbers, _no_notes if newest == 0 else registry.notes)
        questions += [partial(ask, name) for ask in asks]
    other, *found = side_by_side(lambda question: question(), questions, at_once=at_once)
    looks = list(zip(names, found[::4], found[1::4], found[2::4], strict=True))
    refused = {name: pointer for name, pointer, _, _ in looks if isinstance(pointer, Exception)}
    looks = [(name, None if name in refused else pointer, *rest) for name, pointer, *rest in looks]
    notes: dict[str, dict[int, str]] = dict(zip(names, found[3::4], strict=True))
    # Without the pointer nobody can say what became of a version.
    shown = {name: [] if name in refused else _newest(numbers, newest, before) for name, _, _, numbers in looks}
    wanted = {(name, number): None for name in names for number in shown[name]}
    wanted |= {(name, pointer.version): None for name, pointer, _, _ in looks if pointer}
    following = {name: dict(pairwise(numbers)) for name, _, _, numbers in looks}  # number → the one after it
    wanted |= {(name, after): None for name in names for one in shown[name][-1:] if (after := following[name].get(one))}

    bad = [(name, number) for name, _, rejected, _ in looks for number in shown[name] if number in rejected]
    reads: list[Callable[[], Any]] = [
        *(partial(_or_refusal, registry.find_manifest, *one) for one in wanted),
        *(partial(registry.was_deleted, *one) for one in bad),
    ]
    answers = side_by_side(lambda ask: ask(), reads, at_once=at_once)
    manifests = dict(zip(wanted, answers[: len(wanted)], strict=True))
    deleted = {one for one, gone in zip(bad, answers[len(wanted) :], strict=True) if gone}
    histories = []
    for name, pointer, rejected, numbers in looks:
        serving = _or_refusal(registry.served, name, pointer, rejected) if pointer else refused.get(name)
        unknown = [str(serving)] if isinstance(serving, Exception) else []
        serving = _manifest(serving)
        versions = [
            Version(
                manifest,
                pointer=pointer is not None and pointer.version == number,
                serving=serving is not None and serving.version == number,
                rejected=number in rejected,
                deleted=(name, number) in deleted,
                note=notes[name].get(number, ""),
                rolled_back=pointer is not None and number in pointer.rolled_back,
                outcome=outcome_of(
                    manifest,
                    pointer,
                    rejected=number in rejected,
                    deleted=(name, number) in deleted,
                    following=_manifest(manifests.get((name, following[name].get(number, 0)))),
                ),
            )
            for number in shown[name]
            if isinstance(manifest := manifests[name, number], Manifest)
        ]
        problems = [str(one) for number in shown[name] if isinstance(one := manifests[name, number], StoreRefusal)]
        unreadable = tuple(dict.fromkeys([*unknown, *problems]))
        histories.append(
            History(name, pointer, serving, tuple(numbers), tuple(versions), unreadable, known=not unknown)
        )
    return histories, other


def _no_notes(_control: str) -> dict[int, str]:
    """Those of no version."""
    return {}


def _newest(numbers: list[int], newest: int | None, before: int | None) -> list[int]:
    older = [number for number in numbers if before is None or number < before]
    return older if newest is None else older[len(older) - min(newest, len(older)) :]


def _or_refusal(ask: Callable[..., Any], *arguments: Any) -> Any:
    """What `ask` answers, or why a record is no valid one or is not there."""
    try:
        return ask(*arguments)
    except (StoreRefusal, NotFound) as error:
        return error


def _manifest(read: Manifest | Exception | None) -> Manifest | None:
    return read if isinstance(read, Manifest) else None
