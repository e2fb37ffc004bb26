"""The demo's output: steps with their time, live progress, the table at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table

from infra.demo.metrics import Quality

_ROWS = (
    ("precision", "precision", True),
    ("recall", "recall", True),
    ("map50", "mAP50", True),
    ("map50_95", "mAP50-95", True),
    ("top1", "top-1 accuracy", True),
    ("add", "objects to add per {one}", False),
    ("move", "objects to move per {one}", False),
    ("delete", "objects to delete per {one}", False),
    ("work", "work per {one}", False),
)
"""(key of Quality, title, whether more is better); `one`: image or frame."""


class Bar:
    """A progress bar; without a terminal, a line for every fifth of the progress."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._shown = 0

    def at(self, done: int, total: int | None, text: str = "") -> None:
        """Show that `done` of `total` are done; None: it is not known yet."""
        self._progress.update(self._task, completed=done, total=total, description=escape(text))
        due = total and (done >= self._shown + total / 5 or done == total > self._shown)
        if due and not self._console.is_terminal:
            self._shown = done
            self._console.print(f"  {done}/{total} {escape(text)}", highlight=False)


class Screen:
    """Writes to a console and measures each step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """Show and time one step; `name`: its key in `seconds`."""
        self._console.print(f"\n[bold cyan]▸[/] [bold]{escape(title)}[/]", highlight=False, soft_wrap=True)
        started = time.monotonic()
        with self._console.status("") as self._status:
            yield
        self._status = None
        self.seconds[name] = round(time.monotonic() - started, 1)
        self._console.print(f"  [dim]{self.seconds[name]:.1f} s[/]", highlight=False)

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)

    def whisper(self, text: str) -> None:
        """Show what is going on; the next call replaces it."""
        if self._status is not None:
            self._status.update(f"[dim]{escape(text)}[/]")

    @contextmanager
    def bar(self) -> Iterator[Bar]:
        """Show a progress bar instead of `whisper`'s line."""
        if self._status is not None:
            self._status.stop()
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(TextColumn(" "), *columns, console=self._console, disable=not self._console.is_terminal) as shown:
            yield Bar(self._console, shown)
        if self._status is not None:
            self._status.start()

    def result(
        self,
        before: Quality,
        after: Quality,
        title: str,
        *,
        one: str,
        project: tuple[int, float, float],
        unit: str,
    ) -> None:
        """Show the table of both qualities, of which the work is that for `one`: an image, a frame.

        `project`: annotated tasks, and the work for all of them, in `unit`, without the loop and with it.
        """
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("")
        for heading in ("before", "after"):
            table.add_column(heading, justify="right")
        for name, row_title, more_is_better in _ROWS:
            if name in before:
                _add(table, row_title.format(one=one), before[name], after[name], more_is_better)
        tasks, without, done = project
        table.add_section()
        table.add_row(f"[bold]the whole project ({tasks} annotated tasks)[/]", "without the loop", "with it")
        _add(table, f"work, in {unit}", without, done, more_is_better=False)
        self._console.print()
        self._console.print(table)


def _add(table: Table, title: str, before: float, after: float, more_is_better: bool) -> None:
    better = (after > before) == more_is_better and after != before
    color = "green" if better else "red" if after != before else "default"
    table.add_row(title, f"{before:.2f}", f"[{color}]{after:.2f}[/]")
