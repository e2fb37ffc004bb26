"""Memory that is really short: OpenVINO and OpenCV under a limit of the kernel, and what happens after it."""

import subprocess
import sys
from pathlib import Path

from tests.samples.graphs import make_graph

_PROCESS = """
import logging, resource, sys
from pathlib import Path
from shared.prediction.model.loader import GraphLoader

logging.disable(logging.CRITICAL)
loader = GraphLoader(device="cpu", threads=1, float32=True, iou=0.7, image_size=320, base_graph=Path)


def leave(megabytes):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = resource.RLIM_INFINITY if megabytes is None else taken + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def attempt(name, call):
    try:
        print(name, call())
    except Exception as error:
        print(name, type(error).__name__)



def load():
    global model
    model = loader.load_base(sys.argv[1])
    return "loaded"


leave(50)
attempt("import", load)
leave(None)
attempt("import again", load)
leave(2)
attempt("load", load)
leave(None)
attempt("load again", load)
print("told its maker", "openvino_telemetry" in sys.modules)
"""

_OPENCV = """
import resource
from pathlib import Path
import numpy  # as functions.predict does at its start
from shared.errors import ImageError
from shared.imports import undo_failed_import

for megabytes in (60, None):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = taken + megabytes * 2**20 if megabytes else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        with undo_failed_import("cv2"):
            from shared.media.decode import decode
        decode(b"no image", 1)
    except (ImportError, ImageError) as error:
        print(type(error).__name__)
"""


def said(script: str, *arguments: object) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return answer.stdout.splitlines()


def test_a_model_comes_back_when_there_is_memory_again(tmp_path: Path) -> None:
    assert said(_PROCESS, make_graph(tmp_path, "yolov8n", "detect").graph) == [
        "import NotNow",
        "import again loaded",
        "load NotNow",
        "load again loaded",
        "told its maker False",
    ]


def test_opencv_comes_back_when_there_is_memory_again() -> None:
    assert said(_OPENCV) == ["ImportError", "ImageError"]
