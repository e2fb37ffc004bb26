"""The function that is always awake loads nothing heavy."""

import json
import subprocess
import sys
from pathlib import Path

MAIN = Path(__file__).resolve().parents[2] / "functions" / "train_trigger" / "main.py"
HEAVY = (
    "torch",
    "torchvision",
    "ultralytics",
    "label_studio_sdk",
    "numpy",
    "cv2",
    "PIL",
    "boto3",
    "pandas",
    "opentelemetry",
)

# Loads main.py as functions-framework does, answers health, setup and an event, then tells what is loaded.
PROGRAM = """
import json, sys
from functions_framework import create_app
client = create_app("train_trigger", sys.argv[1]).test_client()
codes = [
    client.get("/health").status_code,
    client.post("/setup", json={"project": "1.1", "schema": sys.argv[2]}).status_code,
    client.get("/versions").status_code,
    client.post("/webhook", json={"action": "X", "project": {"id": 1, "created_at": "2026-01-01T00:00Z"}}).status_code,
    client.post("/sweep").status_code,
    client.get("/metrics").status_code,
]
parts = ("functions.train_trigger.ui.", "functions.train_trigger.status")
before = sorted(name for name in sys.modules if name.startswith(parts))
codes += [client.get(path).status_code for path in ("/ui", "/ui/project?project=1.1", "/ui/style.css")]
print(json.dumps({"codes": codes, "before": before, "modules": sorted(sys.modules)}))
"""


CONFIG = """<View><Image name="image" value="$image"/><Video name="video" value="$video"/>
<RectangleLabels name="a" toName="image" model_path="yolo11m.pt"><Label value="Tree"/></RectangleLabels>
<BrushLabels name="b" toName="image" model_tracker="what"><Label value="Tree"/></BrushLabels>
<KeyPointLabels name="c" toName="image"><Label value="Top"/></KeyPointLabels>
<Choices name="d" toName="image" perRegion="true"><Choice value="Old"/></Choices>
<TimelineLabels name="e" toName="video"><Label value="Day"/></TimelineLabels></View>"""


def run(environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOST": "127.0.0.1",
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",  # nobody listens: an event still gets its answer
        "LABEL_STUDIO_API_KEY": "a" * 40,
        "LABELLOOP_STORE": f"file://{tmp_path}/store",
        "LABELLOOP_WORK_DIR": str(tmp_path / "work"),
    }


def test_health_setup_webhook_and_the_page_load_no_torch_no_sdk_no_numpy(tmp_path: Path) -> None:
    done = run(environ(tmp_path), "-c", PROGRAM, str(MAIN), CONFIG)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["codes"] == [200, 200, 200, 202, 200, 200, 200, 200, 200]
    assert told["before"] == ["functions.train_trigger.ui.routes"], "the page is loaded when somebody asks for it"
    assert not set(HEAVY) & set(told["modules"])


def test_wrong_settings_stop_the_start_with_one_sentence(tmp_path: Path) -> None:
    wrong = environ(tmp_path) | {"LABELLOOP_CHANGE_SHARE": "3"}
    done = run(wrong, "-m", "functions_framework", "--source", str(MAIN), "--target", "train_trigger", "--port", "0")
    assert done.returncode != 0
    assert done.stderr.strip() == (
        "train_trigger cannot start: LABELLOOP_CHANGE_SHARE is not a setting of labelloop; "
        "did you mean LABELLOOP_CHANGED_SHARE?"
    )


def test_a_function_that_can_be_reached_from_outside_needs_credentials(tmp_path: Path) -> None:
    done = run(environ(tmp_path) | {"HOST": "0.0.0.0"}, "-c", PROGRAM, str(MAIN))
    assert done.returncode != 0
    assert "LABELLOOP_BASIC_AUTH_PASSWORD" in done.stderr
