"""What is different since the champion, as sentences and rows of a table. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.train.data.comparing import Comparison

_NAMED = 12  # tasks
_LONGEST = 60  # characters of a value
_UNTOLD = ("base_sha256", "border")  # told elsewhere, or of no use to a person


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between the champion and the new version."""

    tasks: str
    rows: tuple[tuple[str, str, str], ...]  # what, with the champion, with the new version
    same: str  # what is the same; empty: nothing


def changes_of(found: Comparison) -> Changes:
    """Of the champion and the new version."""
    groups: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("", {f"“{label}” given": two for label, two in found.labels.items()}),
        ("", {name: two for name, two in found.training.items() if name not in _UNTOLD}),
        ("", found.settings),
        ("", found.packages),
        ("shown of ", found.shown),
    )
    rows = dict[str, tuple[str, str]]()
    for prefix, group in groups:
        for name, (before, after) in group.items():  # what was done stands before what was set, by the same name
            rows.setdefault(f"{prefix}{name}", (_text(before), _text(after)))
    same = [
        name
        for name, group in (("settings", found.settings), ("packages", found.packages), ("thresholds", found.shown))
        if not group
    ]
    told = tuple((name, *two) for name, two in rows.items())
    return Changes(_tasks(found), told, f"The same: {', '.join(same)}." if same else "")


def _tasks(found: Comparison) -> str:
    tasks = found.tasks
    if tasks is None:
        return f"What v{found.before.version} learnt from was not kept, so tasks cannot be compared."
    said = [
        f"{len(ids)} {what} ({', '.join(map(str, ids[:_NAMED]))}{', …' if len(ids) > _NAMED else ''})"
        for ids, what in ((tasks.added, "added"), (tasks.removed, "removed"), (tasks.changed, "changed"))
        if ids
    ]
    val = "" if tasks.same_val else (
        f" The val set is another one than v{found.before.version} was first measured on; the gate measured both anew."
    )  # fmt: skip
    return f"Tasks: {', '.join(said) if said else 'the same'}.{val}"


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return f"from {value.get('confidence'):.2f}, overlap {value.get('iou'):.2f}"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
