"""`labelloop retrain`: trains a version again on this machine, and says how far the numbers are."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from infra.cli.output import table_of
from infra.cli.retrain_process import MARK
from jobs.train.yolo.machine import checked_work_dir
from shared.errors import LabelloopError
from shared.settings import Settings
from shared.state.versions import Manifest

_LAST = 500  # characters of a process's output that an error shows


@dataclass(frozen=True, slots=True)
class Retrained:
    """A version, and the same training again."""

    manifest: Manifest
    metrics: dict[str, float]  # of the training now
    epochs: int
    unlike: tuple[str, ...]  # sentences about what was not as then

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        names = dict.fromkeys([*self.manifest.metrics, *self.metrics])
        return {
            "metrics": {name: [self.manifest.metrics.get(name), self.metrics.get(name)] for name in names},
            "epochs": [self.manifest.lineage.get("epochs"), self.epochs],
            "unlike": list(self.unlike),
            "same": self.same,
        }

    @property
    def same(self) -> bool:
        """Whether all metrics are the same, to the last digit."""
        return self.metrics == self.manifest.metrics


def retrain(
    settings: Settings, environ: Mapping[str, str], uid: str, manifest: Manifest, *, tell: Callable[[str], None]
) -> Retrained:
    """Train it again in a process of its own; Ctrl-C ends both. `environ`: of the process, with the settings.

    Raises LabelloopError.
    """
    work = Path(settings.work_dir)
    checked_work_dir(work)
    with TemporaryDirectory(dir=work, prefix="retrain-") as folder:
        command = [
            sys.executable,
            "-m",
            "infra.cli.retrain_process",
            uid,
            manifest.control,
            str(manifest.version),
            folder,
        ]
        said = last_word(command, environ, tell)
    return Retrained(manifest, said["metrics"], said["epochs"], tuple(said["unlike"]))


def last_word(command: list[str], environ: Mapping[str, str], tell: Callable[[str], None]) -> dict[str, Any]:
    """The result that the process says at its end. Raises LabelloopError."""
    said: dict[str, Any] = {}
    other = ""
    with subprocess.Popen(  # noqa: S603
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                if line.startswith(MARK):
                    said = json.loads(line.removeprefix(MARK))
                    if "tell" in said:
                        tell(said["tell"])
                else:
                    other = (other + line)[-_LAST:]
        except BaseException:  # Ctrl-C
            process.terminate()
            raise
    if "error" in said:
        raise LabelloopError(said["error"])
    if process.returncode == -signal.SIGKILL:
        raise LabelloopError("the training was killed, as when memory runs out")
    if "result" not in said:
        raise LabelloopError(f"the training ended with exit code {process.returncode}: {other.strip()}")
    result: dict[str, Any] = said["result"]
    return result


def render_retrained(found: Retrained) -> RenderableType:
    """For a terminal."""
    manifest, name = found.manifest, found.manifest.gate.metric
    table = table_of("", f"v{manifest.version}", "again", "difference")
    for metric, (then, now) in found.as_json()["metrics"].items():
        both = then is not None and now is not None
        table.add_row(
            metric, *("–" if one is None else f"{one:.3f}" for one in (then, now)), f"{now - then:+.3f}" if both else ""
        )
    then, now = manifest.metrics.get(name), found.metrics.get(name)
    if found.same:
        verdict = "The same numbers, to the last digit."
    elif then is None or now is None:
        verdict = f"{name} could not be measured both times."
    else:
        verdict = (
            f"{name} is {abs(now - then):.3f} {'higher' if now > then else 'lower'}."
            if now != then
            else f"The same {name}."
        )
    unlike = [Text(f"Not as then: {sentence}.", "yellow") for sentence in found.unlike]
    return Group(table, Text(verdict), *unlike, Text("Nothing was published: the version is as it was."))
