"""Base weights in the store: what every control starts from and is served with before its first version.

Made once by whoever has torch, for all projects; what predict needs of them is the graph.
"""

from pathlib import Path

from shared.errors import ModelError, NotFound
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.records import Record, find
from shared.state.registry import download_verified, upload_once
from shared.state.versions import FileEntry
from shared.yolo_task import YoloTask


class BaseWeights(Record):
    """One set of base weights. Written once."""

    name: str  # "yolo11n.pt"
    yolo_task: YoloTask
    files: tuple[FileEntry, ...]  # weights.pt, weights.onnx


def add_base_weights(store: ObjectStore, name: str, yolo_task: YoloTask, files: dict[str, Path]) -> BaseWeights:
    """Keep files by their names (`WEIGHTS`, `GRAPH`) as the base weights `name`. Raises AlreadyExists."""
    entries = tuple(upload_once(store, keys.base_files(name), kept, path) for kept, path in files.items())
    record = BaseWeights(name=name, yolo_task=yolo_task, files=entries)
    store.create(keys.base_weights(name), record.to_json())
    return record


def find_base_weights(store: ObjectStore, name: str) -> BaseWeights | None:
    """What the store holds of base weights; None if nobody made them yet."""
    return find(BaseWeights, store, keys.base_weights(name))[0]


def download_base_file(store: ObjectStore, record: BaseWeights, name: str, path: Path) -> None:
    """One file of base weights to `path`, verified. Raises ModelError if they hold no such file, StoreError."""
    entry = next((entry for entry in record.files if entry.name == name), None)
    if entry is None:
        raise ModelError(f"the base weights {record.name!r} in the store hold no {name}")
    try:
        download_verified(store, keys.base_file(record.name, entry.sha256, name), entry, path, f"base {record.name!r}")
    except NotFound as error:
        raise ModelError(f"{name} of the base weights {record.name!r} is not in the store") from error
