"""`python -m infra.compose`: the sweeper of the compose file; calls train_trigger's /sweep until SIGTERM."""

import os
import signal
import sys
import threading
from collections.abc import Mapping

from infra.local.sweeper import sweep_until
from shared.errors import SettingsError
from shared.settings import Settings


def main(environ: Mapping[str, str]) -> int:
    """Read the settings and sweep; answers the exit code. Wrong settings are printed as one line, with exit code 1."""
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
