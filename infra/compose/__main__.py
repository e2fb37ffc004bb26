"""`python -m infra.compose`: the scheduler of the compose file; sweeps train_trigger until SIGTERM."""

import os
import signal
import sys
import threading
from collections.abc import Mapping

from infra.local.sweeper import sweep_until
from shared.errors import SettingsError
from shared.settings import Settings


def main(environ: Mapping[str, str]) -> int:
    """Read the environment, sweep. Wrong settings end it with one sentence."""
    try:
        settings = Settings.from_environ(environ)
        settings.require("train_trigger_url", "webhook_secret")
    except SettingsError as error:
        print(f"sweeper cannot start: {error}", file=sys.stderr)
        return 1
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: ended.set())
    sweep_until(ended, settings, print)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
