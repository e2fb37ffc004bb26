"""What the engines keep beside a graph for the next load: damaged, gone, made twice. None is a fault of the graph."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.errors import LabelloopError, ModelError, SettingsError
from shared.evolve import evolve
from shared.inference.kept_files import note_digests
from shared.inference.onnxruntime_engine import OnnxRuntimeEngine
from shared.inference.openvino_engine import OpenVinoEngine
from shared.objectstore import ObjectStore
from shared.prediction.weights import WeightsCache
from shared.state.registry import Registry
from shared.state.versions import GRAPH
from tests.samples.tiny_graphs import tiny_graph
from tests.samples.versions import manifest

PICTURE = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)


def opened(path: Path) -> OpenVinoEngine:
    return OpenVinoEngine(path, threads=1, streams=1, float32=True, cache_dir=path.with_suffix(".compiled"))


def test_what_was_compiled_and_is_damaged_is_made_anew(tmp_path: Path) -> None:
    """OpenVINO sees only a file that is too short: it would answer other numbers, as if nothing were wrong."""
    path = tiny_graph(tmp_path / "abc.onnx")
    before = opened(path).run(PICTURE)[0].copy()
    (kept,) = (tmp_path / "abc.compiled").rglob("*.blob")
    data = bytearray(kept.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0x40 for byte in data[middle : middle + 64])
    kept.write_bytes(data)
    for _ in ("made anew", "as it was kept"):
        np.testing.assert_array_equal(opened(path).run(PICTURE)[0], before)


def test_what_was_compiled_is_loaded_again_also_after_a_graph_was_used(tmp_path: Path, file_store: ObjectStore) -> None:
    """OpenVINO compiles anew for a file that has changed since: to it that is the time of its last change."""
    registry = Registry(file_store, "1.1700000000")
    entry = registry.upload_file("label", GRAPH, tiny_graph(tmp_path / "abc.onnx"))
    version = evolve(manifest(1), files=(entry,))
    cache = WeightsCache(tmp_path / "cache", 10**9)
    graph = cache.path(registry, "label", version)
    os.utime(graph, (1000.0, 1000.0))
    for again in (False, True):
        engine = opened(graph)
        assert engine._compiled.get_property("LOADED_FROM_CACHE") == again
        assert cache.path(registry, "label", version) == graph


@pytest.mark.parametrize("limit", [1000, 75_000])
def test_a_full_disk_costs_the_cache_and_not_the_version(tmp_path: Path, limit: int) -> None:
    """`limit`: bytes a file may have, too few for what OpenVINO writes; 75,000 are enough for the first file."""
    path = tiny_graph(tmp_path / "abc.onnx")
    whole = OpenVinoEngine(path, threads=1, streams=1, float32=True, cache_dir=None).run(PICTURE)[0]
    np.save(tmp_path / "whole.npy", whole)
    program = (
        "import resource, signal, sys; from tests.parts.test_kept_graphs import *;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "path, whole = map(Path, sys.argv[1:]);"
        "[np.testing.assert_array_equal(opened(path).run(PICTURE)[0], np.load(whole)) for _ in range(2)]"
    )
    loading = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "whole.npy"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert loading.returncode == 0, loading.stderr


def test_what_was_compiled_in_fewer_bits_is_not_served_as_float32(tmp_path: Path) -> None:
    """OpenVINO would take one for the other. Only a processor with bfloat16 answers other numbers then."""
    path = tiny_graph(tmp_path / "abc.onnx")
    folder = path.with_suffix(".compiled")
    for float32 in (False, True):
        OpenVinoEngine(path, threads=1, streams=1, float32=float32, cache_dir=folder)
    assert len(list(folder.rglob("*.blob"))) == 2


def test_a_disk_that_takes_no_digest_keeps_nothing_from_being_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note_digests(tmp_path / "gone")
    assert [getattr(record, "event", "") for record in caplog.records] == ["cache_not_noted"]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_that_left_the_cache_is_not_bad(tmp_path: Path, engine: str) -> None:
    """Another process may remove it once it was verified: then a version would be rejected for all."""
    gone = tmp_path / "abc.onnx"
    with pytest.raises((OSError, LabelloopError)) as caught:
        OnnxRuntimeEngine(gone, gpu=None, threads=1) if engine == "onnxruntime" else opened(gone)
    assert not isinstance(caught.value, ModelError)


@pytest.mark.filterwarnings("ignore")  # ONNX Runtime's, of CUDA that is not there
def test_a_graph_in_half_precision_that_is_damaged_is_not_bad_and_made_anew(tmp_path: Path) -> None:
    path, folder = tiny_graph(tmp_path / "abc.onnx"), tmp_path / "abc.compiled"
    half = folder / "abc.half.onnx"
    folder.mkdir()
    half.write_bytes(b"half written")
    with pytest.raises(LabelloopError) as caught:
        OnnxRuntimeEngine(path, gpu=0, threads=1, cache_dir=folder)
    assert not isinstance(caught.value, ModelError)
    assert not half.exists()


@pytest.mark.filterwarnings("ignore")  # ONNX Runtime's, of CUDA that is not there
def test_a_graph_in_half_precision_whose_weights_are_damaged_is_made_anew(tmp_path: Path) -> None:
    """ONNX Runtime would load it, and answer other numbers as if nothing were wrong."""
    path, folder = tiny_graph(tmp_path / "abc.onnx"), tmp_path / "abc.compiled"

    def kept() -> bytes:
        with pytest.raises(SettingsError, match="asks for CUDA"):  # made, loaded, and there is no GPU
            OnnxRuntimeEngine(path, gpu=0, threads=1, cache_dir=folder)
        return half.read_bytes()

    half = folder / "abc.half.onnx"
    before = kept()
    damaged, middle = bytearray(before), len(before) // 2
    damaged[middle : middle + 8] = bytes(byte ^ 0x40 for byte in damaged[middle : middle + 8])
    half.write_bytes(damaged)
    assert kept() == before
