"""`labelloop suspects`: lists annotations that are worth a look, and remembers those that a person found right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from infra.cli.projects import find_control
from shared.errors import NotKnown, StoreRefusal
from shared.objectstore import ObjectStore
from shared.readable import readable
from shared.state.registry import Registry
from shared.state.suspects import Listed, Place, Suspect, dismiss, newest_first, read_suspects

SHOWN = 20
"""Suspects of a control that are printed; --all prints the others, too."""


@dataclass(frozen=True, slots=True)
class ControlSuspects:
    """What there is of one control."""

    control: str
    listed: Listed | None  # None: no version has a list
    problem: str = ""  # why its list cannot be read


def find_suspects(store: ObjectStore, uid: str, control: str | None) -> list[ControlSuspects]:
    """The newest list of each control that has versions, or of one. Raises NotKnown, StoreError."""
    registry = Registry(store, uid)
    found = []
    for name in registry.controls() if control is None else [find_control(store, uid, control)]:
        try:
            found.append(ControlSuspects(name, read_suspects(store, uid, name, newest_first(registry, name))))
        except StoreRefusal as error:  # of one control: the others are shown
            found.append(ControlSuspects(name, None, str(error)))
    return found


def dismiss_suspects(store: ObjectStore, uid: str, found: Sequence[ControlSuspects], ids: Sequence[str]) -> int:
    """Remember that these were looked at and are right; answers how many that were new. Raises NotKnown, StoreError."""
    wanted = set(ids)
    listed = {one.control: one.listed.list.suspects for one in found if one.listed}
    known = {suspect.id for suspects in listed.values() for suspect in suspects}
    if missing := sorted(wanted - known):
        raise NotKnown(
            f"--dismiss {', '.join(missing)}: the newest list has no such id; `labelloop suspects --all` shows them"
        )
    still = {suspect.id for one in found if one.listed for suspect in one.listed.open}
    for control, suspects in listed.items():
        if chosen := [suspect for suspect in suspects if suspect.id in wanted]:
            dismiss(store, uid, control, chosen)
    return len(wanted & still)


def suspects_as_json(uid: str, found: Sequence[ControlSuspects], label_studio_url: str | None) -> dict[str, Any]:
    """For scripts: every open suspect, with its link."""
    return {
        "project": uid,
        "controls": [
            {
                "control": one.control,
                "version": one.listed.version,
                "judge": one.listed.judge,
                "judged": one.listed.list.judged,
                "tasks": one.listed.list.tasks,
                "dismissed": one.listed.dismissed,
                "suspects": [
                    suspect.model_dump(mode="json", exclude={"digest"})
                    | {"url": suspect.address(label_studio_url, uid)}
                    for suspect in one.listed.open
                ],
            }
            if one.listed
            else {"control": one.control, "version": None, "problem": one.problem or None, "suspects": []}
            for one in found
        ],
    }


def render_suspects(
    uid: str, found: Sequence[ControlSuspects], label_studio_url: str | None, *, every: bool
) -> RenderableType:
    """For a terminal. `every`: not only the first ones."""
    if not found:
        return Text(f"Project {uid} has no version yet: a training says what is worth a look.")
    return Group(*(part for one in found for part in _render(uid, one, label_studio_url, every=every)))


def _render(uid: str, one: ControlSuspects, url: str | None, *, every: bool) -> Iterator[RenderableType]:
    name = escape(readable(one.control))
    if one.listed is None:
        why = one.problem or "no version has a list (of videos and of choices of regions none is made)"
        yield Text.from_markup(f"[bold]{name}[/]: {escape(why)}")
        return
    listed, left = one.listed, one.listed.open
    count = (
        f"{len(left)} annotation{' is' if len(left) == 1 else 's are'} worth a look" if left else "nothing to look at"
    )
    dismissed = f", {listed.dismissed} dismissed" if listed.dismissed else ""
    yield Text.from_markup(
        f"[bold]{name}[/]: {count}{dismissed}; {escape(listed.judge)} judged the {listed.list.judged} of "
        f"{listed.list.tasks} annotated tasks that it was not trained on"
    )
    for suspect in left if every else left[:SHOWN]:
        yield Padding(_lines(suspect, suspect.address(url, uid)), (0, 0, 0, 2))
    if not every and len(left) > SHOWN:
        yield Text(f"  … and {len(left) - SHOWN} more: --all")
    if left:
        yield Text(
            "Each may be right: look, correct what is wrong, --dismiss the rest. What is not listed may be wrong, too.",
            style="dim",
        )


def _lines(suspect: Suspect, url: str | None) -> Text:
    said = readable(suspect.reason)
    lines = Text.assemble((suspect.id, "cyan"), f"  task {suspect.task}  ", (suspect.kind, "yellow"), f"  {said}")
    boxes = [
        f"{what} {readable(label)}{sure}{_where(place)}"
        for what, label, sure, place in (
            ("annotated", suspect.label, "", suspect.box),
            (
                "found",
                suspect.found,
                f" {suspect.confidence:.2f}" if suspect.confidence is not None else "",
                suspect.found_box,
            ),
        )
        if label
    ]
    lines.append(f"\n            {'; '.join(boxes)}", style="dim")
    if url:
        lines.append(f"\n            {url}", style="dim")
    return lines


def _where(place: Place | None) -> str:
    if place is None:
        return ""
    left, top, width, height = place
    return f" at {left:.0f} %, {top:.0f} %, {width:.0f} × {height:.0f} %"
