"""`labelloop report`: the report of a version, from the store, in this machine's browser."""

import re
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from functions.train_trigger.status.history import Version, read_history
from infra.cli.projects import find_version
from shared.errors import LabelloopError, NotKnown
from shared.state.registry import Registry
from shared.state.versions import REPORT


@dataclass(frozen=True, slots=True)
class Shown:
    """A report on this machine."""

    version: int
    path: Path
    outcome: str  # what became of the version since
    serving: bool
    opened: bool

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "version": self.version,
            "report": str(self.path),
            "outcome": self.outcome,
            "serving": self.serving,
            "opened": self.opened,
        }

    def sentence(self, control: str) -> str:
        """For a person."""
        became = f"{self.outcome}{', served now' if self.serving else ''}"
        return f"{control} v{self.version} ({became}): {self.path}"


def show_report(registry: Registry, control: str, version: int | None, to: Path | None, *, browser: bool) -> Shown:
    """Fetch a report, verified, and open it. `version` None: the newest that was not deleted.

    `to`: a file or a folder; None: a new folder.

    Raises NotKnown without such a version or without its report, ModelError for one that is damaged, LabelloopError if
    the file cannot be written.
    """
    if version is None:
        numbers = registry.numbers(control)
        there = (number for number in reversed(numbers) if not registry.was_deleted(control, number))
        version = next(there, numbers[-1])
    manifest = find_version(registry, control, version)
    entry = manifest.find_file(REPORT)
    if entry is None:
        raise NotKnown(f"v{version} of {control!r} has no report: the labelloop that published it made none")
    path = _place(to, f"{re.sub('[^A-Za-z0-9_-]', '_', control)}-v{version}.html")
    registry.download_file(control, entry, path)
    found = _what_became(registry, control, version)
    opened = browser and webbrowser.open(path.resolve().as_uri())
    word = found.outcome.word if found else "unknown"
    return Shown(version, path, word, found is not None and found.serving, opened)


def _place(to: Path | None, name: str) -> Path:
    """Where it is written, below a folder that is there."""
    if to is None:
        return Path(mkdtemp(prefix="labelloop-report-")) / name
    path = to / name if to.is_dir() else to
    if not path.parent.is_dir():
        raise LabelloopError(f"--to {to}: there is no folder {path.parent}")
    return path


def _what_became(registry: Registry, control: str, version: int) -> Version | None:
    (history,) = read_history(registry, [control], newest=1, before=version + 1)
    return next(iter(history.versions), None)
