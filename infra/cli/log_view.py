"""Shows a person at `labelloop up` the log lines that matter: what the loop does, and everything that goes wrong."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from shared.readable import readable

SHOWN_EVENTS = (
    "run_launched", "run_stopped", "phase", "prelabelled", "job_ended", "model_swapped", "label_studio_back",
)  # fmt: skip
_FIELDS = ("control", "before", "after", "phase", "reason", "exit_code")
_BASE = "base-"  # begins the version of a control that has none
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class LogView:
    """Prints chosen log lines; the same line of one program, repeated, is printed once."""

    def __init__(self, console: Console, title_of: Callable[[str], str] = lambda uid: f"project {uid}") -> None:
        """`title_of`: what people call the project with a uid."""
        self._console = console
        self._title_of = title_of
        self._last: dict[str, str] = {}

    def __call__(self, name: str, line: dict[str, Any]) -> None:
        """Print a line if it matters. `name`: of the log file. `line`: its fields (see shared/logs.py)."""
        level, event = str(line.get("level", "")), str(line.get("event", ""))
        if level not in _STYLES and event not in SHOWN_EVENTS:
            return
        message = str(line.get("message") or event)
        if event == "model_swapped":
            self._print(name, self._swapped(line), level)
            return
        fields = ", ".join(f"{key} {line[key]}" for key in _FIELDS if line.get(key) not in (None, message))
        text = message + (f" ({fields})" if fields and level not in _STYLES else "")
        self._print(name, text, level)

    def _print(self, name: str, text: str, level: str) -> None:
        text = readable(text)  # whoever names a project must not steer our terminal
        if self._last.get(name) != text:
            self._last[name] = text
            self._console.print(Text(f"{name}: {text}", _STYLES.get(level, "cyan")), soft_wrap=True)

    def _swapped(self, line: dict[str, Any]) -> str:
        """Which version predicts from now on, in plain words."""
        after, before = str(line.get("after")), line.get("before")
        version = f"the base weights {after.removeprefix(_BASE)}" if after.startswith(_BASE) else after
        was = f" (before: {before})" if before else ""
        return f"{self._title_of(str(line.get('project')))}: {line.get('control')!r} is predicted by {version} now{was}"
