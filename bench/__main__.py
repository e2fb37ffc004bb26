"""Runs the benchmarks one after the other, each in a process of its own: `python -m bench [--json FOLDER]`."""

import argparse
import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("webhook", "store", "predict", "prelabel", "convert", "train", "tiles", "video", "scale")


def main() -> int:
    """Run them; answers 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="this one; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write the figures as NAME.json there")
    options = parser.parse_args()
    failed = []
    for name in options.only or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"bench.{name}"]
        if options.json:
            options.json.mkdir(parents=True, exist_ok=True)
            command += ["--json", str(options.json / f"{name}.json")]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
