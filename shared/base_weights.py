"""The weights to start from before a version exists: a file of the operator, or a name that ultralytics downloads."""

from pathlib import Path

from shared.errors import LabelloopError, ModelError


def base_weights_file(weights: str, folder: Path) -> Path:
    """The file that LABELLOOP_BASE_WEIGHTS means; a bare name that is no file is downloaded into `folder`, once.

    Imports ultralytics for a download only. Raises ModelError, which says what to set instead, and LabelloopError if
    the download failed: that may heal.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    asked = f"LABELLOOP_BASE_WEIGHTS={weights!r}"
    hint = "set it to a .pt file, or to a name that ultralytics can download, such as yolo11n.pt"
    if len(path.parts) > 1:
        raise ModelError(f"{asked}: there is no such file; {hint}")
    from ultralytics.utils.downloads import attempt_download_asset

    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = Path(attempt_download_asset(folder / path.name))
    except Exception as error:
        raise LabelloopError(f"{asked} could not be downloaded; {hint}") from error
    if not found.is_file():
        raise ModelError(f"{asked}: ultralytics offers no such file; {hint}")
    return found
