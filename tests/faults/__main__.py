"""`make faults MINUTES=30`: faults at random moments until the time is over, then a table; 1 if a promise broke."""

import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tests.faults.faults import FAULTS, available
from tests.faults.play import Play
from tests.faults.report import Report
from tests.faults.world import World, world

_FAULTS = 25  # in a cycle
_ANNOTATED = 9  # tasks, before the first


def main(
    minutes: Annotated[float, typer.Argument(help="No cycle begins later.")],
    *,
    seed: Annotated[int, typer.Option(help="Of the choice of faults; the moments are those of the machine.")] = 0,
    report: Annotated[Path | None, typer.Option(help="Write the table here, as markdown, after each cycle.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the logs of all programs in this new folder.")] = None,
) -> None:
    """Break objects until the time is over or a promise broke."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    seed = seed or random.SystemRandom().randrange(1, 1 << 32)
    print(f"seed {seed}", flush=True)
    counted = Report(seed)
    with tempfile.TemporaryDirectory(prefix="labelloop-faults-") as folder:
        try:
            with world(Path(folder), _say) as running:
                begin = time.monotonic()
                try:
                    for _ in _cycles(running, counted, begin + minutes * 60):
                        counted.seconds = time.monotonic() - begin
                        _count(running, counted)
                        if report is not None:
                            report.write_text(counted.markdown())
                finally:
                    counted.seconds = time.monotonic() - begin
                    _count(running, counted)
                    if keep is not None:
                        _keep(running, keep)
            left = running.supervisor.processes()
            counted.broken += [f"left at the end: {process}" for process in left]
        except KeyboardInterrupt:
            print("\nended before the time was over")
    print(counted.markdown())
    if report is not None:
        report.write_text(counted.markdown())
    sys.exit(bool(counted.broken))


def _cycles(running: World, counted: Report, until: float) -> Iterator[None]:
    counted.left_out += [
        f"{fault.name}, which needs root: a disk of its own is mounted for it"
        for fault in FAULTS
        if fault not in available(running)
    ]
    play = Play(running, random.Random(counted.seed), _say, counted)
    _say("the first training, undisturbed")
    play.begin(_ANNOTATED)
    while time.monotonic() < until and not counted.broken:
        _say(f"cycle {counted.cycles + 1} ({counted.struck} faults so far, {len(counted.broken)} promises broken)")
        play.cycle(_FAULTS)
        yield


def _keep(running: World, folder: Path) -> None:
    shutil.copytree(running.supervisor.folder, folder)
    shutil.copytree(Path(running.settings.work_dir, "logs"), folder / "jobs")


def _count(running: World, counted: Report) -> None:
    """What was made, by the greatest numbers in the store: it keeps the newest only."""
    controls = running.registry.controls()
    counted.versions = sum(max(running.registry.numbers(control), default=0) for control in controls)
    counted.runs = running.jobs.read().fence // 1000  # each claim took the next thousand
    counted.restarts = running.supervisor.restarts


def _say(sentence: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {sentence}", flush=True)


if __name__ == "__main__":
    program = typer.Typer(pretty_exceptions_enable=False)
    program.command()(main)
    program()
