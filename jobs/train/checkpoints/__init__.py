"""Checkpoints: spooled by the training, carried into the store, fetched by the next attempt."""
