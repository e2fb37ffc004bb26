"""`python -m infra.cli.ultralytics_export WEIGHTS FORMAT`: ultralytics' exporter, in a process for it alone.

The last line of its output is JSON: what was `made` beside the weights, the module that is `missing`, or the `error`.
"""

import json
import sys
from pathlib import Path

_SIMPLIFIES = ("onnx", "engine")  # by onnxslim, which we do without: engines simplify by themselves


def main() -> None:
    """The entry point."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # it tells OpenVINO's maker of every export
    try:
        said = {"made": export(Path(sys.argv[1]), sys.argv[2])}
    except ModuleNotFoundError as error:
        said = {"missing": str(error.name)}
    except Exception as error:  # noqa: BLE001  (of any library that takes part: it is this process's answer)
        said = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:1000]}
    print(f"\n{json.dumps(said)}")


def export(weights: Path, argument: str) -> str:
    """Name of the file or folder that is made beside the weights. Raises whatever the exporter raises."""
    from ultralytics.models import YOLO

    options = {"simplify": False} if argument in _SIMPLIFIES else {}
    # Of two heads the one whose boxes are suppressed afterwards: what labelloop serves.
    made = YOLO(weights).export(format=argument, nms=None, **options)
    return Path(made).name


if __name__ == "__main__":
    main()
