"""Which engine runs a YOLO network fastest: torch, ONNX Runtime or OpenVINO. `python -m bench.engines --json FILE`.

Each engine runs the same network (exported with dynamic batch, height and width) on the same batches, in a process of
its own, so that import, load and memory are its own. OpenVINO takes part if it is installed. On a GPU the engines are
torch and ONNX Runtime's CUDA provider, each in float32 and in half precision.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.memory import peak_memory

BATCHES = (1, 8, 32)
SIZE = (384, 640)  # height, width of a 1280×720 photograph as the model sees it
_SECONDS = 2.0  # for each batch size
_WARM_UP = 3  # calls


class Engine(Protocol):
    """A loaded network."""

    def arrays(self, batch: NDArray[np.float32]) -> Any:
        """(B, 3, H, W) floats → the network's raw output, both as numpy arrays."""

    def on_device(self, batch: NDArray[np.float32]) -> Callable[[], Any]:
        """A call that runs only the network: the batch is on the device already, and the output stays there."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--model", default="yolov8s.yaml", help="a model of ultralytics, by its yaml or .pt")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cuda where torch sees a GPU, else cpu")
    parser.add_argument("--only", action="append", help="this engine; may be repeated")
    parser.add_argument("--run", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(_measure(*options.run)))
        return
    with tempfile.TemporaryDirectory() as folder:
        device = options.device or _device()
        _export(options.model, Path(folder))
        figures = {}
        for name in options.only or _engines(device):
            command = [sys.executable, "-m", "bench.engines", "--run", name, folder]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                figures[name] = {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "killed"}
            else:
                figures[name] = json.loads(done.stdout.strip().splitlines()[-1])
            _print(name, figures[name], figures)
    if options.json:
        options.json.write_text(json.dumps({"device": device, "model": options.model, "engines": figures}, indent=1))


def _device() -> str:
    code = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _engines(device: str) -> list[str]:
    if device == "cuda":
        return ["torch-cuda-float32", "torch-cuda-half", "onnxruntime-cuda-float32", "onnxruntime-cuda-half"]
    return ["torch-cpu-float32", "onnxruntime-cpu-float32", *(["openvino-cpu"] if find_spec("openvino") else [])]


def _export(model: str, folder: Path) -> None:
    """Write `weights.pt`, `weights.onnx` and, if onnx is installed, `half.onnx` (float32 in and out, half inside)."""
    code = """
import sys, shutil, torch
from ultralytics import YOLO
torch.manual_seed(0)
model, folder = sys.argv[1:]
YOLO(model).save(folder + "/weights.pt")
YOLO(folder + "/weights.pt").export(format="onnx", dynamic=True, simplify=False)
try:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
except ImportError as error:
    print("no graph in half precision:", error)
else:
    onnx.save(convert_float_to_float16(onnx.load(folder + "/weights.onnx"), keep_io_types=True), folder + "/half.onnx")
"""
    subprocess.run([sys.executable, "-c", code, model, str(folder)], check=True, stdout=sys.stderr)


def _measure(name: str, folder: str) -> dict[str, Any]:
    library, _, rest = name.partition("-")
    started = time.perf_counter()
    engines: dict[str, Callable[[str, Path], Engine]]
    engines = {"torch": _Torch, "onnxruntime": _OnnxRuntime, "openvino": _OpenVino}
    engine = engines[library](rest, Path(folder))
    loaded = time.perf_counter()
    rng = np.random.default_rng(0)
    batches = {size: rng.random((size, 3, *SIZE), dtype=np.float32) for size in BATCHES}
    engine.arrays(batches[1])
    figures: dict[str, Any] = {"load_s": loaded - started, "first_s": time.perf_counter() - loaded}
    for size, batch in batches.items():
        call = engine.on_device(batch)
        figures[f"{size}"] = {"ms": _timed(call) / size, "arrays_ms": _timed(partial(engine.arrays, batch)) / size}
    figures["memory_mb"] = peak_memory() / 2**20
    if "cuda" in name:
        figures["gpu_mb"] = _gpu_memory()
    return figures


def _timed(call: Callable[[], Any]) -> float:
    """Median milliseconds of a call."""
    for _ in range(_WARM_UP):
        call()
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end or len(times) < _WARM_UP:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _gpu_memory() -> float:
    """MB used on the GPU by all processes: run the benchmark alone."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


class _Torch:
    def __init__(self, how: str, folder: Path) -> None:
        import torch
        from ultralytics import YOLO

        device, precision = how.split("-")
        self._torch, self._device = torch, torch.device(device)
        self._type = torch.float16 if precision == "half" else torch.float32
        whole: Any = YOLO(folder / "weights.pt").model
        network = whole.fuse().eval().to(self._device, self._type)
        self._network = network.requires_grad_(False)

    def arrays(self, batch: NDArray[np.float32]) -> Any:
        with self._torch.inference_mode():
            given = self._torch.from_numpy(batch).to(self._device).to(self._type)
            return self._network(given)[0].float().cpu().numpy()

    def on_device(self, batch: NDArray[np.float32]) -> Callable[[], Any]:
        given = self._torch.from_numpy(batch).to(self._device, self._type)

        def call() -> None:
            with self._torch.inference_mode():
                self._network(given)
            if self._device.type == "cuda":
                self._torch.cuda.synchronize()

        return call


class _OnnxRuntime:
    def __init__(self, how: str, folder: Path) -> None:
        import onnxruntime

        device, precision = how.split("-")
        if device == "cuda":
            onnxruntime.preload_dlls()  # CUDA's libraries of the pip packages beside it
        provider = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}[device]
        graph = folder / ("half.onnx" if precision == "half" else "weights.onnx")
        self._session = onnxruntime.InferenceSession(graph, providers=[provider])
        if provider not in self._session.get_providers():
            raise SystemExit(f"{provider} did not load: {self._session.get_providers()} did")
        self._device, self._ort = device, onnxruntime
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def arrays(self, batch: NDArray[np.float32]) -> Any:
        return self._session.run([self._output], {self._input: batch})[0]

    def on_device(self, batch: NDArray[np.float32]) -> Callable[[], Any]:
        binding = self._session.io_binding()
        given = self._ort.OrtValue.ortvalue_from_numpy(batch, self._device, 0)
        binding.bind_ortvalue_input(self._input, given)
        binding.bind_output(self._output, self._device)

        def call() -> None:
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return call


class _OpenVino:
    def __init__(self, _how: str, folder: Path) -> None:
        import openvino

        self._model = openvino.Core().compile_model(folder / "weights.onnx", "CPU")

    def arrays(self, batch: NDArray[np.float32]) -> Any:
        return self._model([batch])[0]

    def on_device(self, batch: NDArray[np.float32]) -> Callable[[], Any]:
        return lambda: self._model([batch])


def _print(name: str, figures: dict[str, Any], all_of: dict[str, dict[str, Any]]) -> None:
    """Print one engine's figures, with its speed relative to the first one."""
    if "failed" in figures:
        print(f"{name:26} failed: {figures['failed']}", flush=True)
        return
    first = next(iter(all_of.values()))
    each = "  ".join(
        f"batch {size}: {figures[str(size)]['ms']:.2f} ({figures[str(size)]['arrays_ms']:.2f}) ms an image"
        + (f", ×{first[str(size)]['ms'] / figures[str(size)]['ms']:.2f}" if "failed" not in first else "")
        for size in BATCHES
    )
    memory = f"{figures['memory_mb']:.0f} MB" + (f", GPU {figures['gpu_mb']:.0f} MB" if "gpu_mb" in figures else "")
    print(f"{name:26} load {figures['load_s']:.2f} s, first {figures['first_s']:.2f} s; {each}; {memory}", flush=True)


if __name__ == "__main__":
    main()
