"""Ends this process where only a new one can go on: gunicorn's master, or the platform, starts it.

gunicorn lets the requests under way finish first; who asks meanwhile waits for the next process.
"""

import logging
import mmap
import os
import signal
import threading

logger = logging.getLogger(__name__)

_ended = mmap.mmap(-1, 8)
"""Shared by the processes that the server forks once it has loaded this: each leaves the count to the next."""
_ending = threading.Event()


def end_process(event: str, reason: str) -> None:
    """Log and count it, and have the server end this process soon. Once."""
    if _ending.is_set():
        return
    _ending.set()
    _ended[:8] = (processes_ended() + 1).to_bytes(8, "little")
    logger.critical(f"{reason}: this process ends, for another one to start", extra={"event": event})
    os.kill(os.getpid(), signal.SIGTERM)


def processes_ended() -> int:
    """How many processes of this server ended themselves."""
    return int.from_bytes(_ended[:8], "little")
