"""Jobs as Kubernetes Jobs."""

from functions.train_trigger.launchers.kubernetes.launcher import open_launcher

__all__ = ["open_launcher"]
