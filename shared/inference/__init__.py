"""Runs graphs without torch and ultralytics. predict, the gate and prelabelling use it, so they find the same."""
