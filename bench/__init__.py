"""Benchmarks: `make bench` runs those of bench/__main__.py."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads of torch would slow down what runs in turns
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as every program of labelloop says it (shared/yolo/environment.py)
