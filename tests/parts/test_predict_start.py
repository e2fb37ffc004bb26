"""The function as a process: what it loads and when, and what stops it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.local.label_studio import REPOSITORY
from tests.fakes.predict_parts import UID, label_config

MAIN = REPOSITORY / "functions" / "predict" / "main.py"
HEAVY = ("torch", "torchvision", "ultralytics", "label_studio_sdk", "openvino", "onnxruntime", "cv2", "opentelemetry")

# Loads main.py as functions-framework does and keeps, for each heavy module, the thread that first looked for it.
PROGRAM = """
import json, sys, threading
heavy, setup = json.loads(sys.argv[2]), json.loads(sys.argv[3])
asked = {}

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in heavy:
            asked.setdefault(name, threading.current_thread().name)

sys.meta_path.insert(0, Watch())
from functions_framework import create_app
client = create_app("predict", sys.argv[1]).test_client()
early = sorted(sys.modules)
codes = [
    client.get("/").status_code,
    client.get("/health").status_code,
    client.post("/setup", json=setup).status_code,
    client.post("/webhook", json={"action": "START_TRAINING"}).status_code,
    client.get("/versions").status_code,
    client.get("/metrics").status_code,
    client.post("/predict", json=json.loads(sys.argv[4])).status_code,
]
print(json.dumps({"codes": codes, "asked": asked, "early": early, "modules": sorted(sys.modules)}))
"""


def run(environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def environ(tmp_path: Path, **changes: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOST": "127.0.0.1",
        "LABELLOOP_STORE": (tmp_path / "store").as_uri(),
        "LABELLOOP_CACHE_DIR": str(tmp_path / "cache"),
        "LABELLOOP_BASE_WEIGHTS": str(tmp_path / "nothing.pt"),
        **changes,
    }


def run_program(environ: dict[str, str]) -> dict[str, Any]:
    setup = {"project": UID, "schema": label_config()}
    predict = {"project": UID, "label_config": label_config(), "tasks": [{"id": 1, "data": {"image": "x"}}]}
    arguments = [json.dumps(value) for value in (HEAVY, setup, predict)]
    done = run(environ, "-c", PROGRAM, str(MAIN), *arguments)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_no_route_imports_torch_and_no_request_thread_an_engine(tmp_path: Path) -> None:
    told = run_program(environ(tmp_path))
    assert told["codes"] == [200, 200, 200, 503, 200, 200, 200]  # nobody is named to hand the webhook to
    assert "MainThread" not in told["asked"].values()
    assert not {"torch", "torchvision", "ultralytics"} & (set(told["asked"]) | set(told["modules"]))
    assert not {*HEAVY, "numpy", "PIL", "boto3", "urllib3"} & set(told["early"])  # what the first answer waits for


def test_dummy_needs_no_torch_no_numpy_no_image_library(tmp_path: Path) -> None:
    told = run_program(environ(tmp_path, LABELLOOP_DUMMY="true"))
    assert told["codes"] == [200, 200, 200, 503, 200, 200, 200]
    assert not {*HEAVY, "numpy", "PIL", "boto3"} & set(told["modules"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"LABELLOOP_CONFIDENCES": "1"},
            "LABELLOOP_CONFIDENCES is not a setting of labelloop; did you mean LABELLOOP_CONFIDENCE?",
        ),
        ({"LABELLOOP_CONFIDENCE": "2"}, "LABELLOOP_CONFIDENCE: Input should be less than or equal to 1"),
        (
            {"LABELLOOP_STORE": "ftp://x"},
            "LABELLOOP_STORE must begin with file://… or s3://… or gs://…, not with 'ftp'",
        ),
        (
            {"HOST": "0.0.0.0"},
            "HOST=0.0.0.0 can be reached from outside: set LABELLOOP_BASIC_AUTH_PASSWORD and LABELLOOP_WEBHOOK_SECRET, "
            "or HOST=127.0.0.1, or LABELLOOP_AUTH=off where something in front asks for credentials",
        ),
    ],
)
def test_wrong_settings_stop_the_start_with_one_sentence(
    tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    command = ("-m", "functions_framework", "--source", str(MAIN), "--target", "predict", "--port", "0")
    done = run(environ(tmp_path, **changes), *command)
    assert done.returncode not in (0, None)
    assert done.stderr.strip() == f"predict cannot start: {sentence}"
