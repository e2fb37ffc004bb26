"""Environment variables that libraries read when they are imported."""

from pathlib import Path


def prediction_environ(folder: Path) -> dict[str, str]:
    """The variables for whoever runs graphs; matplotlib, which trackers import, keeps its files below `folder`.

    ORT_DISABLE_TELEMETRY: unless told not to, ONNX Runtime (from 1.29 on) sends names and hashes of models to its maker
    and keeps an id of the machine in the home folder.
    """
    return {"ORT_DISABLE_TELEMETRY": "1", "MPLCONFIGDIR": str(folder / "matplotlib")}


def ultralytics_environ(folder: Path) -> dict[str, str]:
    """The variables for torch and ultralytics, which keeps its own files in `folder`, and for graphs.

    They forbid installs, telemetry and look-ups (weights that a name asks for are downloaded all the same). PASSIVE,
    because waiting threads that spin make a training ten times slower when the machine is shared.

    ULTRALYTICS_SAFE_LOAD: only classes of torch and ultralytics are unpickled. A job holds Label Studio's key and may
    write to the store, so a file of weights must not run code there.
    """
    return prediction_environ(folder) | {
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": "true",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(folder),
        "ULTRALYTICS_SAFE_LOAD": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
