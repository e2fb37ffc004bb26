"""What the demo shows: one line a step with its time, live progress below, the table at the end."""

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
    ("top1", "right label, part of all", True),
    ("add", "objects to add per image", False),
    ("move", "objects to move per image", False),
    ("delete", "objects to delete per image", False),
    ("work", "work, per image", False),
)
"""Name in Quality, title, whether more is better."""


class Bar:
    """A progress bar; where no terminal redraws it, a line now and then."""

    def __init__(self, console: Console, progress: Progress, total: int) -> None:
        self._console = console
        self._progress = progress
        self._task = progress.add_task("", total=total)
        self._total = total
        self._shown = 0

    def at(self, done: int, text: str = "") -> None:
        """`done` of the total."""
        self._progress.update(self._task, completed=done, description=escape(text))
        due = done >= self._shown + self._total / 5 or done == self._total > self._shown
        if due and not self._console.is_terminal:
            self._shown = done
            self._console.print(f"  {done}/{self._total} {escape(text)}", highlight=False)


class Screen:
    """Writes to one console and keeps the seconds of every step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """One step of the story; `name` is its key in `seconds`."""
        self._console.print(f"\n[bold cyan]▸[/] [bold]{escape(title)}[/]", highlight=False, soft_wrap=True)
        started = time.monotonic()
        with self._console.status("") as self._status:
            yield
        self._status = None
        self.seconds[name] = round(time.monotonic() - started, 1)
        self._console.print(f"  [dim]{self.seconds[name]:.1f} s[/]", highlight=False)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)

    def whisper(self, text: str) -> None:
        """What is going on right now; the next one takes its place."""
        if self._status is not None:
            self._status.update(f"[dim]{escape(text)}[/]")

    @contextmanager
    def bar(self, total: int) -> Iterator[Bar]:
        """A progress bar in the place of the whispers."""
        if self._status is not None:
            self._status.stop()
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(TextColumn(" "), *columns, console=self._console, disable=not self._console.is_terminal) as shown:
            yield Bar(self._console, shown, total)
        if self._status is not None:
            self._status.start()

    def result(self, before: Quality, after: Quality, title: str) -> None:
        """The table before/after."""
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("")
        for heading in ("before", "after"):
            table.add_column(heading, justify="right")
        for name, row_title, more_is_better in _ROWS:
            if name not in before:
                continue
            old, new = before[name], after[name]
            better = (new > old) == more_is_better and new != old
            color = "green" if better else "red" if new != old else "default"
            table.add_row(row_title, f"{old:.2f}", f"[{color}]{new:.2f}[/]")
        self._console.print()
        self._console.print(table)
