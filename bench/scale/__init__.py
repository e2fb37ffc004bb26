"""Simulates large installations of train_trigger in virtual time."""
