"""Shows a person at `labelloop up` the log lines that matter: what the loop does, and everything that goes wrong."""

from typing import Any

from rich.console import Console
from rich.text import Text

SHOWN_EVENTS = ("run_launched", "phase", "prelabelled", "job_ended", "model_swapped")
_FIELDS = ("control", "before", "after", "phase", "reason", "exit_code")
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class LogView:
    """Prints chosen log lines; the same line of one program, repeated, is printed once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, str] = {}

    def __call__(self, name: str, line: dict[str, Any]) -> None:
        """Print a line if it matters. `name`: of the log file. `line`: its fields (see shared/logs.py)."""
        level, event = str(line.get("level", "")), str(line.get("event", ""))
        if level not in _STYLES and event not in SHOWN_EVENTS:
            return
        message = str(line.get("message") or event)
        fields = ", ".join(f"{key} {line[key]}" for key in _FIELDS if line.get(key) not in (None, message))
        text = message + (f" ({fields})" if fields and level not in _STYLES else "")
        if self._last.get(name) != text:
            self._last[name] = text
            self._console.print(Text(f"{name}: {text}", _STYLES.get(level, "cyan")), soft_wrap=True)
