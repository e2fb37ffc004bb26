"""Findings: what a check found or a command changed, in a sentence for people and a word for scripts."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape

Level = Literal["ok", "changed", "warning", "problem"]
_MARKS = {"ok": "[green]✓[/]", "changed": "[cyan]+[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `labelloop connect` or `labelloop doctor`."""

    level: Level
    check: str  # what was looked at: "label_studio", "store", "webhook" …
    message: str  # what was found
    remedy: str = ""  # what to set or do; empty where nothing is to be done


def problems(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that keep the loop from working."""
    return [finding for finding in findings if finding.level == "problem"]


def show(finding: Finding, console: Console) -> None:
    """Print one finding."""
    console.print(f"{_MARKS[finding.level]} {escape(finding.message)}", highlight=False, soft_wrap=True)
    if finding.remedy:
        console.print(f"  [dim]→[/] {escape(finding.remedy)}", highlight=False, soft_wrap=True)


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """The findings for scripts. `ok`: there is no problem; `changed`: something was changed."""
    listed = list(findings)
    return {
        "ok": not problems(listed),
        "changed": any(finding.level == "changed" for finding in listed),
        "findings": [asdict(finding) for finding in listed],
    }
