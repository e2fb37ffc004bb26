"""A small part of `make faults`: a few faults of each kind during one training; docs/reliability.md has the whole."""

import random
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.play import Play
from tests.faults.report import Report
from tests.faults.world import world

_CHOSEN = (
    "events: doubled",
    "store: answers lost after the write",
    "kill -9 train_trigger",
    "Label Studio: 502",
    "kill -9 the training job",
    "images: 503",
    "store: gone",
    "kill -9 predict",
    "kill -9 the sweeper",
)


def test_what_is_promised_holds_after_each_fault(tmp_path: Path) -> None:
    by_name = {fault.name: fault for fault in FAULTS}
    report = Report(seed=1)
    with world(tmp_path, print) as running:
        running.train_briefly()
        play = Play(running, random.Random(report.seed), print, report)
        assert play.cycle([by_name[name] for name in _CHOSEN], changes=6) == []
        assert len(running.registry.versions("label")) >= 1
    assert running.supervisor.processes() == []
    assert {name for name, counts in report.kinds.items() if counts.struck} == set(_CHOSEN)
