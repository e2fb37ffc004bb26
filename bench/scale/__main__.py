"""Simulates a large installation of train_trigger in virtual time: `python -m bench.scale [--projects N] …`.

The real routes, trigger, claims and registry run against simulated S3, Label Studio and GPUs. The same options give the
same figures on any machine. `--series` runs growing loads, to find the first limit.
"""

import argparse
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bench.scale.plan import Plan
from bench.scale.report import figures
from bench.scale.simulation import Simulation

SERIES: tuple[dict[str, Any], ...] = (
    {"projects": 1_000, "events": 100.0, "instances": 2},
    {"events": 100.0, "instances": 2},
    {"events": 1_000.0},
    {"events": 1_000.0, "label_studio_at_once": 64},
    {"events": 1_000.0, "instances": 4},
    {"projects": 30_000, "events": 10.0, "seconds": 300.0},
    {"projects": 100_000, "events": 10.0, "seconds": 600.0},
)
"""The plans of `--series`: what differs from the default."""
_SERIES_SECONDS = 60.0


def main() -> int:
    """Simulate, print, write; answers 1 if a figure that must be zero is not."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    for field in fields(Plan):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=type(field.default), default=field.default, help=f"default {field.default}")
    parser.add_argument("--series", action="store_true", help="several sizes, a minute or more of load each")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = vars(parser.parse_args())
    path, series = options.pop("json"), options.pop("series")
    plan = Plan(**options)
    plans = [replace(plan, **({"seconds": _SERIES_SECONDS, "drain": 0.0} | changes)) for changes in SERIES]
    plans = plans if series else [plan]
    reports = []
    for number, one in enumerate(plans):
        if series:
            print(f"\n-- {SERIES[number]}", flush=True)
        simulation = Simulation(one)
        report = figures(simulation, simulation.run(_say))
        _show(report)
        reports.append(report)
        if path:
            path.write_text(json.dumps(reports if series else report, indent=1))
    return 1 if any(any(report["must be zero"].values()) for report in reports) else 0


def _say(line: str) -> None:
    """Show progress: on a terminal one line that changes."""
    if sys.stderr.isatty():
        print(f"\r{line:<110}", end="\n" if not line else "", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)


def _show(report: dict[str, Any]) -> None:
    for section, found in report.items():
        print(section)
        for name, value in found.items():
            print(f"  {name:<50} {value:10.2f}" if isinstance(value, float) else f"  {name:<50} {value:10}")


if __name__ == "__main__":
    sys.exit(main())
