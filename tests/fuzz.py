"""`make fuzz MINUTES=10`: the property tests with new random cases, round after round, until the time is over.

What it finds becomes an `@example` of the test. The tests talk to this machine alone.
"""

import random
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parent


def main(minutes: float, *more: str) -> int:
    """How many rounds failed. `more`: arguments of pytest, as `-k rotated`."""
    files = sorted(str(path) for path in TESTS.rglob("test_*.py") if "from hypothesis import" in path.read_text())
    until = time.monotonic() + minutes * 60
    failed: list[int] = []
    rounds = 0
    while time.monotonic() < until:
        rounds += 1
        seed = random.SystemRandom().getrandbits(32)
        again = ["-m", "hypothesis", "--hypothesis-profile", "fuzz", "--hypothesis-seed", str(seed), *more]
        print(f"round {rounds}: pytest {' '.join(again)}", flush=True)
        ended = subprocess.run([sys.executable, "-m", "pytest", "-q", "--no-header", *files, *again], check=False)
        if ended.returncode:
            failed.append(seed)
    print(f"{rounds} rounds, {len(failed)} failed" + (f": --hypothesis-seed {failed}" if failed else ""))
    return len(failed)


if __name__ == "__main__":
    sys.exit(bool(main(float(sys.argv[1]), *sys.argv[2:])))
