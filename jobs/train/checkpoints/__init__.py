"""Checkpoints: written by the training to a spool folder, uploaded to the store, downloaded by the next attempt."""
