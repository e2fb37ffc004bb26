"""A small part of `make faults`: some faults of a fixed list during one training; docs/reliability.md has the whole."""

import random
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.play import Play
from tests.faults.report import Report
from tests.faults.world import world

_CHOSEN = (
    "store: answers lost after the write",
    "events: doubled",
    "kill -9 train_trigger",
    "images: 503",
    "Label Studio: 502",
    "kill -9 the sweeper",
    "store: 503",
)
_SETTLE = 120.0  # seconds; ten are enough where nothing else runs


def test_what_is_promised_holds_after_some_faults(tmp_path: Path) -> None:
    by_name = {fault.name: fault for fault in FAULTS}
    report = Report(seed=1)
    with world(tmp_path, print) as running:
        running.train_briefly()
        play = Play(running, random.Random(report.seed), print, report, settle=_SETTLE)
        assert play.cycle([by_name[name] for name in _CHOSEN], changes=6) == []
        assert len(running.registry.versions("label")) >= 1
    assert running.supervisor.processes() == []
    assert {name: counts.struck for name, counts in report.kinds.items()} == dict.fromkeys(_CHOSEN, 1)
