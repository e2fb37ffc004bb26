"""Benchmarks: `make bench` runs those of bench/__main__.py."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as every program of labelloop says it (shared/yolo/environment.py)
