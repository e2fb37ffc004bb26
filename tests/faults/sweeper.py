"""`python -m tests.faults.sweeper`: the scheduler of the local emulation as a process, so that it can die."""

import os
import threading

from infra.local.sweeper import sweep_until
from shared.settings import Settings

if __name__ == "__main__":
    sweep_until(threading.Event(), Settings.from_environ(os.environ), print)
