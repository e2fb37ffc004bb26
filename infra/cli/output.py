"""How a command prints what it has to say: for a person at a terminal, or with `--json` for scripts."""

import json
import sys
from collections.abc import Callable, Collection, Sequence
from io import TextIOWrapper
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from functions.train_trigger.status.findings import Finding
from functions.train_trigger.status.project import Unreadable
from infra.cli.findings import as_json, problems, show
from shared.readable import readable

_WIDE = 10_000  # columns: wider than any table


def escape_unknown_characters() -> None:
    """Let stdout write characters that its encoding lacks as escapes, as stderr does, instead of failing half-way."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_result(body: dict[str, Any], rendered: RenderableType, *, json_: bool) -> None:
    """Print one result: `body` as JSON, or `rendered` for a person."""
    if json_:
        print_json(body)
    else:
        Console().print(Text(rendered) if isinstance(rendered, str) else rendered, highlight=False)


def print_projects(
    body: dict[str, Any], rendered: RenderableType, unreadable: Collection[Unreadable], *, json_: bool
) -> None:
    """Print what was found of several projects, then those that cannot be read. Raises typer.Exit(1) if any is."""
    parts = (rendered, *(problem_text(str(one)) for one in unreadable))
    print_result(body | {"unreadable": [one.as_json() for one in unreadable]}, Group(*parts), json_=json_)
    if unreadable:
        raise typer.Exit(1)


def print_with(body: dict[str, Any], rendered: RenderableType, problems: Sequence[str], *, json_: bool) -> None:
    """Print what was found, then a sentence for each record that cannot be read. Raises typer.Exit(1) if any is."""
    parts = rendered, *map(problem_text, problems)
    print_result(body | {"unreadable": list(problems)}, Group(*parts), json_=json_)
    if problems:
        raise typer.Exit(1)


def problem_text(sentence: str) -> Text:
    """A sentence about something that is wrong."""
    return Text(readable(sentence), "red")


def print_json(body: dict[str, Any]) -> None:
    """Print an object as indented JSON; where the output is not UTF-8, with JSON's own escapes."""
    print(json.dumps(body, indent=1, ensure_ascii=sys.stdout.encoding.lower() != "utf-8"))


class WholeTable(Table):
    """A table that cuts no cell: where a terminal is narrower than its columns, all of them go on in the next line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        if Measurement.get(console, options.update_width(_WIDE), self).minimum > options.max_width:
            for column in self.columns:
                column.no_wrap, column.overflow = False, "fold"
        return super().__rich_console__(console, options)


def table_of(*headings: str, folded: Collection[str] | None = None) -> Table:
    """A table without lines: what is too long for the terminal goes on in the next line, nothing is cut.

    `folded`: headings of the columns that this is done to; None: to all.
    """
    table = WholeTable(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, no_wrap=folded is not None and heading not in folded, overflow="fold")
    return table


def teller(*, json_: bool) -> Callable[[Finding], None]:
    """A function that prints a finding at once; with `json_` one that prints nothing, as `end` prints all of them."""
    console = Console()
    return (lambda _: None) if json_ else (lambda finding: show(finding, console))


def end(findings: list[Finding], *, json_: bool) -> None:
    """End a command that made findings, printed as JSON if asked for. Raises typer.Exit(1) if one is a problem."""
    if json_:
        print_json(as_json(findings))
    if problems(findings):
        raise typer.Exit(1)
