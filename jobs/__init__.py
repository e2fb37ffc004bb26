"""The batch jobs: `train`, and later `prelabel`."""
