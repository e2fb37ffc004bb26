"""The experiment of docs/gate.md: how often a gate decides right on a few tasks, with real images of trees."""
