"""First calls of many threads at once, in a process that has not called the engine before."""

import subprocess
import sys
from pathlib import Path

from tests.samples.graphs import make_graph

_FIRST_CALLS = """
import sys, threading
from pathlib import Path
import numpy as np
from shared.inference.openvino_engine import OpenVinoEngine

engine = OpenVinoEngine(Path(sys.argv[1]), threads=2, streams=2, float32=True, cache_dir=None)
sys.setswitchinterval(1e-6)  # threads take turns inside of what is made once, too
together = threading.Barrier(4)

def call():
    together.wait()
    engine.run(np.zeros((1, 64, 64, 3), np.uint8))

threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_first_calls_at_once_end(tmp_path: Path) -> None:
    """They waited for one another for ever, and Python's other threads for them: /health, too."""
    graph = make_graph(tmp_path, "yolov8n", "detect").graph
    for _ in range(3):  # without what `_finish_binding` does, one process in four ended
        assert subprocess.run([sys.executable, "-c", _FIRST_CALLS, graph], timeout=60).returncode == 0
