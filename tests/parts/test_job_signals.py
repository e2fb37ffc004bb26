"""What a run says of the signal that ended its job. Each in a process of its own, as a job is."""

import signal
import subprocess
import sys

import pytest

from shared.job_signals import BY_PERSON

_SIGNALLED = """
import signal, sys
from shared.job_signals import BY_PERSON, Stopped, raise_when_stopped
raise_when_stopped()
try:
    signal.raise_signal(int(sys.argv[1]))
except Stopped as stopped:
    for again in (signal.SIGTERM, BY_PERSON):
        signal.raise_signal(again)
    print(stopped)
"""


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGTERM, "the machine asked the job to stop (SIGTERM)"),
        (BY_PERSON, "stopped with `labelloop up`, goes on at the next `labelloop up`"),
    ],
)
def test_the_first_one_is_told_and_the_next_ones_do_not_interrupt_the_clean_up(number: int, why: str) -> None:
    command = [sys.executable, "-c", _SIGNALLED, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, why, "")
