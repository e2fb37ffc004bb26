"""The webhook URL of Label Studio: turns annotation events into at most one training run a project."""
