"""The experiment behind docs/gate.md: how often a gate is right, on real trees, for few tasks."""
