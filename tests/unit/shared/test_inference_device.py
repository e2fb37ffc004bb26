"""Where graphs run on a machine whose driver shows no GPU: on the processor, and somebody who wanted one is told."""

from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.inference import cuda
from shared.inference.device import choose_device

pytestmark = pytest.mark.skipif(cuda.devices() > 0, reason="NVIDIA's driver shows a GPU here")


@pytest.fixture
def made_for_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation of ONNX Runtime for GPUs, as far as its metadata goes."""
    metadata = tmp_path / "onnxruntime_gpu-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_an_installation_for_gpus_that_finds_none_is_said(
    made_for_cuda: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_device("auto", threads=2, float32=False).gpu is None
    assert [record.__dict__["event"] for record in caplog.records] == ["no_gpu"]
    assert "LABELLOOP_DEVICE=cuda refuses" in caplog.text


def test_an_installation_for_processors_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_device("auto", threads=2, float32=False).gpu is None
    assert caplog.records == []


def test_who_asks_for_a_gpu_is_refused(made_for_cuda: None) -> None:
    with pytest.raises(SettingsError, match="driver shows 0 devices; set auto or cpu"):
        choose_device("cuda", threads=2, float32=False)
