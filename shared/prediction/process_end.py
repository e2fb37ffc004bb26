"""Ends this process when only a new one can help; gunicorn's master, or the platform, starts the new one.

gunicorn lets running requests finish first; requests that come meanwhile wait for the new process.
"""

import logging
import mmap
import os
import signal
import threading

logger = logging.getLogger(__name__)

_ended = mmap.mmap(-1, 8)
"""Count of ended processes, in memory that the server's forked processes share."""
_ending = threading.Event()


def end_process(event: str, reason: str) -> None:
    """Log `reason`, count it, and send SIGTERM to this process. Further calls do nothing."""
    if _ending.is_set():
        return
    _ending.set()
    _ended[:8] = (processes_ended() + 1).to_bytes(8, "little")
    logger.critical(f"{reason}: this process ends, a new one starts", extra={"event": event})
    os.kill(os.getpid(), signal.SIGTERM)


def processes_ended() -> int:
    """Number of processes of this server that ended themselves."""
    return int.from_bytes(_ended[:8], "little")
