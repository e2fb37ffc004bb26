"""export: what it refuses before anything is fetched, the weights as they are, and the card beside them."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.environment import Invocation
from infra.cli.export import FORMATS
from infra.cli.main import app
from shared.errors import LabelloopError, ModelError, NotKnown
from shared.objectstore import ObjectStore
from shared.state.registry import Registry
from shared.state.versions import WEIGHTS, Gate, Manifest, Shown
from shared.yolo_task import YoloTask

UID = "1.1700000000"
Labelloop = Callable[..., Result]


@pytest.fixture
def labelloop(tmp_path: Path, file_store: ObjectStore) -> Labelloop:
    """Runs the command on the store, with nothing else set."""
    invocation = Invocation({"LABELLOOP_STORE": file_store.url}, tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["export", *map(str, arguments)], obj=invocation)


@pytest.fixture
def manifest(file_store: ObjectStore, tmp_path: Path) -> Manifest:
    """The only version of the only control."""
    return publish(file_store, tmp_path)


def publish(
    store: ObjectStore, folder: Path, *, control: str = "../trees | all", yolo_task: YoloTask = "detect"
) -> Manifest:
    (folder / WEIGHTS).write_bytes(b"weights of " + control.encode())
    registry = Registry(store, UID)
    files = (registry.upload_file(control, WEIGHTS, folder / WEIGHTS),)
    gate = Gate(
        metric="mAP50-95", challenger=0.5, champion=0.4, champion_version=None, against="base-yolo11n", worse=0.07,
        tasks=4, things=31, passed=True, reason="mAP50-95 0.500, base-yolo11n has 0.400",
    )  # fmt: skip
    lineage = {
        "base": "yolo11n.pt",
        "base_sha256": "b" * 64,
        "dataset_sha256": "d" * 64,
        "tasks": {"train": 16, "val": 4},
        "epochs": 50,
        "settings": {"image_size": 640},
        "packages": {"ultralytics": "8.4.158"},
    }
    return registry.publish(
        control,
        lambda version: Manifest(
            version=version, control=control, yolo_task=yolo_task, labels=("Pine | *tall*", "Oak\nold"), files=files,
            metrics={"mAP50": 0.61234, "saved": 0.25}, gate=gate, lineage=lineage, run_id="run-1", fence=1,
            shown={"Pine | *tall*": Shown(confidence=0.35, iou=0.5)} if yolo_task == "detect" else {},
            created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        ),
    )  # fmt: skip


def test_the_weights_as_they_are_with_their_card(labelloop: Labelloop, manifest: Manifest, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    result = labelloop(1, "--format", "pt", "--to", target, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    digest = manifest.file(WEIGHTS).sha256
    assert said == {
        "project": UID, "control": manifest.control, "version": 1, "format": "pt", "weights_sha256": digest,
        "model": str(target / "___trees___all-v1.pt"), "card": str(target / "README.md"),
    }  # fmt: skip
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "___trees___all-v1.pt"]
    assert (target / "___trees___all-v1.pt").read_bytes() == b"weights of " + manifest.control.encode()
    assert card_lines(target) >= {
        r"# ../trees \| all, version 1",
        'model = YOLO("___trees___all-v1.pt", task="detect")',
        'results = model.predict("photograph.jpg", imgsz=640, conf=0.25, iou=0.7)',
        r"| 0 | Pine \| \*tall\* | 0.35 | 0.50 |",
        "| 1 | Oak old | 0.25 | 0.70 |",
        "On the val set: 4 tasks, 31 boxes.",
        "| mAP50 | 0.612 |",
        "The gate let it pass: mAP50-95 0.500, base-yolo11n has 0.400.",
        "| run | run-1, 2026-01-02 03:04 UTC |",
        f"| base weights | yolo11n.pt, SHA-256 {'b' * 64} |",
        f"| dataset, SHA-256 | {'d' * 64} |",
        "| tasks | 16 to train on, 4 to validate on |",
        f"| weights.pt, SHA-256 | {digest} |",
        "| trained with | ultralytics 8.4.158 |",
    }


def test_a_classifier_has_no_thresholds(labelloop: Labelloop, file_store: ObjectStore, tmp_path: Path) -> None:
    publish(file_store, tmp_path, control="season", yolo_task="classify")
    assert labelloop(1, "--format", "pt", "--to", tmp_path / "out").exit_code == 0
    lines = card_lines(tmp_path / "out")
    assert lines >= {"| class | label |", "| 1 | Oak old |", 'results = model.predict("photograph.jpg", imgsz=224)'}
    assert not any("suppress" in line for line in lines)


@pytest.mark.parametrize("made", [True, False], ids=["it is there", "it is not"])
def test_an_empty_folder_is_taken(labelloop: Labelloop, manifest: Manifest, tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "out").mkdir()
    assert labelloop(1, "--format", "pt", "--to", tmp_path / "out").exit_code == 0


def test_a_folder_that_holds_anything_stays_as_it_is(labelloop: Labelloop, manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    error = failed(labelloop(1, "--format", "pt", "--to", tmp_path / "out"))
    assert "holds notes.txt: name a folder that is empty" in str(error)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    assert "cannot be written to" in str(failed(labelloop(1, "--format", "pt", "--to", tmp_path / "out" / "notes.txt")))


def test_a_version_that_is_not_there(labelloop: Labelloop, manifest: Manifest, tmp_path: Path) -> None:
    error = failed(labelloop(2, "--to", tmp_path / "out", "--format", "pt"))
    assert isinstance(error, NotKnown)
    assert "has no version v2; there are v1" in str(error)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_those_of_the_manifest(
    labelloop: Labelloop, manifest: Manifest, file_store: ObjectStore, tmp_path: Path
) -> None:
    [key] = (key for key in file_store.list(f"projects/{UID}/") if key.endswith(WEIGHTS))
    file_store.put(key, b"others")
    error = failed(labelloop(1, "--format", "pt", "--to", tmp_path / "out"))
    assert isinstance(error, ModelError)
    assert manifest.file(WEIGHTS).sha256 in str(error)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_format_names_those_there_are(labelloop: Labelloop, manifest: Manifest, tmp_path: Path) -> None:
    error = str(failed(labelloop(1, "--format", "onxx", "--to", tmp_path / "out")))
    assert "--format onxx is not known" in error
    assert all(name in error for name in FORMATS)
    assert not (tmp_path / "out").exists()


def test_what_a_format_needs_and_is_not_installed_is_said_before_anything_is_fetched(
    labelloop: Labelloop, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("coremltools", "onnx", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    assert str(failed(labelloop(1, "--format", "coreml", "--to", tmp_path / "out"))).endswith(
        "not installed: pip install 'coremltools>=9'"
    )
    assert str(failed(labelloop(1, "--format", "tensorrt", "--to", tmp_path / "out"))).endswith(
        "pip install onnx tensorrt"
    )
    assert not (tmp_path / "out").exists()


def card_lines(folder: Path) -> set[str]:
    return set((folder / "README.md").read_text(encoding="utf-8").splitlines())


def failed(result: Result) -> LabelloopError:
    assert isinstance(result.exception, LabelloopError), result.output
    return result.exception
