"""Environment variables that torch, ultralytics and ONNX Runtime read when they are imported."""

from pathlib import Path


def ultralytics_environ(folder: Path) -> dict[str, str]:
    """The variables to set before the imports; ultralytics and matplotlib keep their own files below `folder`.

    They forbid installs, telemetry and look-ups (weights that a name asks for are downloaded all the same). PASSIVE,
    because waiting threads that spin make a training ten times slower when the machine is shared, and take predict's
    cores from decoding.

    ORT_DISABLE_TELEMETRY: unless told not to, ONNX Runtime (from 1.29 on) sends names and hashes of models to its maker
    and keeps an id of the machine in the home folder.

    ULTRALYTICS_SAFE_LOAD: only classes of torch and ultralytics are unpickled, in jobs as in predict. A job holds Label
    Studio's key and may write to the store, so a file of weights must not run code there; and it must not learn from
    weights that predict refuses to serve.
    """
    return {
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": "true",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(folder),
        "ULTRALYTICS_SAFE_LOAD": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
