"""Prints findings: what a check found or a command changed."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from functions.train_trigger.status.findings import Finding

_MARKS = {"ok": "[green]✓[/]", "changed": "[cyan]+[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}


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
