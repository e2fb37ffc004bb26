"""Jobs as processes of this machine."""

from functions.train_trigger.launchers.local.launcher import open_launcher

__all__ = ["open_launcher"]
