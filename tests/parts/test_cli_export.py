"""export with ultralytics' real exporter, in its process."""

from datetime import UTC, datetime
from pathlib import Path

from typer.testing import CliRunner, Result

from infra.cli.environment import Invocation
from infra.cli.main import app
from infra.demo.samples import base_weights
from shared.errors import LabelloopError
from shared.objectstore import ObjectStore
from shared.state.registry import Registry
from shared.state.versions import WEIGHTS, Gate, Manifest

UID = "1.1700000000"


def export(store: ObjectStore, weights: Path, folder: Path) -> Result:
    """The only version of the only control, to onnx."""
    registry = Registry(store, UID)
    files = (registry.upload_file("label", WEIGHTS, weights),)
    gate = Gate(metric="mAP50-95", challenger=None, champion=None, champion_version=None, passed=True, reason="first")
    registry.publish(
        "label",
        lambda number: Manifest(
            version=number, control="label", yolo_task="detect", labels=("Tree",), files=files, metrics={}, gate=gate,
            lineage={}, run_id="run-1", fence=1, created_at=datetime(2026, 1, 2, tzinfo=UTC),
        ),
    )  # fmt: skip
    invocation = Invocation({"LABELLOOP_STORE": store.url}, folder)
    arguments = ["export", "1", "--format", "onnx", "--to", str(folder / "a.pt" / "out")]
    return CliRunner().invoke(app, arguments, obj=invocation)


def test_a_version_becomes_a_graph(file_store: ObjectStore, tmp_path: Path) -> None:
    import onnx

    result = export(file_store, base_weights(), tmp_path)
    assert result.exit_code == 0, result.exception
    target = tmp_path / "a.pt" / "out"  # ultralytics replaces the ending wherever it stands in a path
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "label-v1.onnx"]
    graph = onnx.load(target / "label-v1.onnx")
    told = {entry.key: entry.value for entry in graph.metadata_props}
    assert (told["task"], told["end2end"]) == ("detect", "False")
    [boxes] = graph.graph.output
    assert boxes.name == "output0"
    assert "label-v1.onnx" in (target / "README.md").read_text(encoding="utf-8")


def test_what_ultralytics_says_of_weights_that_are_none(file_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"no model")
    error = export(file_store, tmp_path / WEIGHTS, tmp_path).exception
    assert isinstance(error, LabelloopError)
    assert "ultralytics could not export label-v1.pt to onnx" in str(error)
    assert list((tmp_path / "a.pt" / "out").iterdir()) == []
