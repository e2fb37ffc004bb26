"""Base weights, made by the real exporter in the process that `labelloop base add` starts, and served by predict."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.demo.samples import base_weights
from jobs.train.yolo.weights import base_weights_file
from shared.digest import sha256_of
from shared.errors import LabelloopError, ModelError
from shared.objectstore import open_store
from shared.prediction.weights import WeightsCache
from shared.state.base_weights import find_base_weights
from shared.state.versions import GRAPH, WEIGHTS
from tests.samples.served_graphs import quick_loader


def labelloop(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if "LABEL" not in name}
    settings = {"LABELLOOP_STORE": (folder / "store").as_uri(), "LABELLOOP_WORK_DIR": str(folder / "work")}
    return subprocess.run(
        [sys.executable, "-m", "infra.cli.main", "base", *arguments, "--json"],
        cwd=folder,
        env=ours | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_the_command_adds_is_served(tmp_path: Path) -> None:
    added = labelloop(tmp_path, "add", str(base_weights()))
    assert added.returncode == 0, added.stderr
    assert json.loads(labelloop(tmp_path, "list").stdout) == json.loads(added.stdout) | {"unreadable": []}

    store = open_store((tmp_path / "store").as_uri())
    record = find_base_weights(store, "ABD.pt")
    assert record is not None
    assert record.file(WEIGHTS).sha256 == sha256_of(base_weights())
    model = quick_loader(base_graph=lambda weights: WeightsCache(tmp_path / "cache", 10**9).base_path(store, weights))
    served = model.load_base(str(base_weights()))
    assert (served.yolo_task, served.names) == (record.yolo_task, record.names)
    assert len(record.names) == 147
    (graph,) = (tmp_path / "cache").glob("*.onnx")
    assert graph.stem == record.file(GRAPH).sha256
    assert b"/tmp" not in graph.read_bytes(), "no folder of the machine that made it"


def test_what_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no model")
    (tmp_path / "zeros.pt").write_bytes(bytes(10_000))  # a download whose room was only reserved
    added = labelloop(tmp_path, "add", "broken.pt", "/nowhere/mine.pt", "zeros.pt")
    assert added.returncode == 1
    assert added.stderr.startswith("labelloop: broken.pt holds no model that ultralytics can load")
    assert "base weights '/nowhere/mine.pt': there is no such file" in added.stderr
    assert "zeros.pt is no file of PyTorch weights, or a damaged one" in added.stderr
    assert "Traceback" not in added.stderr
    assert "weights_only" not in added.stderr, "torch's advice to run whatever code the file holds"
    assert find_base_weights(open_store((tmp_path / "store").as_uri()), "broken.pt") is None


@pytest.mark.parametrize("name", ["/nowhere/weights.pt", "folder/weights.pt", "no-such-model.pt"])
def test_base_weights_that_cannot_be_had_name_the_setting(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # no internet
    with pytest.raises(ModelError, match=r"base weights '.*set LABELLOOP_BASE_WEIGHTS to \.pt files"):
        base_weights_file(name, tmp_path)


def test_a_download_of_base_weights_that_failed_may_heal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no internet")

    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", fail)
    with pytest.raises(LabelloopError, match=r"base weights 'yolov8x-oiv7\.pt' could not be") as caught:
        base_weights_file("yolov8x-oiv7.pt", tmp_path)
    assert not isinstance(caught.value, ModelError), "it would fail a run at once"
