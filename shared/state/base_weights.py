"""Base weights in the store: what every control starts from and is served with before its first version.

Made once by whoever has torch, for all projects; what predict needs of them is the graph.
"""

from collections.abc import Iterable
from pathlib import Path

from shared.digest import sha256_of
from shared.errors import AlreadyExists, ModelError, NotFound, StoreRefusal
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.records import Record, find, load
from shared.state.stored_files import download_verified, upload_once
from shared.state.versions import WEIGHTS, FileEntry
from shared.yolo_task import YoloTask


class BaseWeights(Record):
    """One set of base weights. Written once."""

    name: str  # "yolo11n.pt"
    yolo_task: YoloTask
    names: tuple[str, ...]  # class index → name
    files: tuple[FileEntry, ...]  # weights.pt, weights.onnx

    def file(self, name: str) -> FileEntry:
        """The entry of the file with that name. Raises ModelError if there is none."""
        for entry in self.files:
            if entry.name == name:
                return entry
        raise ModelError(f"the base weights {self.name!r} in the store hold no {name}")

    def problem_with(self, weights: str) -> str:
        """Why `weights` are not these, if they are a file here with other bytes; "" if they may be used."""
        path = Path(weights).expanduser()
        if not path.is_file() or sha256_of(path) == self.file(WEIGHTS).sha256:
            return ""
        return (
            f"{weights} is another file than the base weights {self.name!r} in the store, which never change and are "
            "the ones that are used: give the file another name"
        )


def add_base_weights(
    store: ObjectStore, name: str, yolo_task: YoloTask, names: Iterable[str], files: dict[str, Path]
) -> BaseWeights:
    """Keep files by their names (`WEIGHTS`, `GRAPH`) as the base weights `name`; answers what the store holds now.

    If somebody else was first, that is theirs.
    """
    entries = tuple(upload_once(store, keys.base_files(name), kept, path) for kept, path in files.items())
    record = BaseWeights(name=name, yolo_task=yolo_task, names=tuple(names), files=entries)
    try:
        store.create(keys.base_weights(name), record.to_json())
    except AlreadyExists:
        return load(BaseWeights, store, keys.base_weights(name))[0]
    return record


def find_base_weights(store: ObjectStore, weights: str) -> BaseWeights | None:
    """What the store holds of base weights, by their file or name; None if nobody made them yet."""
    return find(BaseWeights, store, keys.base_weights(Path(weights).name))[0]


def all_base_weights(store: ObjectStore) -> tuple[list[BaseWeights], list[str]]:
    """All that the store holds, by name; and a sentence for each record that is no valid one."""
    all_, problems = [], []
    for folder in store.folders(keys.BASE):
        try:
            if found := find_base_weights(store, keys.decode(folder)):  # else somebody uploads its files just now
                all_.append(found)
        except StoreRefusal as error:
            problems.append(str(error))
    return all_, problems


def download_base_file(store: ObjectStore, record: BaseWeights, name: str, path: Path) -> None:
    """One file of base weights to `path`, verified. Raises ModelError if they hold no such file, StoreError."""
    entry = record.file(name)
    try:
        download_verified(store, keys.base_file(record.name, entry.sha256, name), entry, path, f"base {record.name!r}")
    except NotFound as error:
        raise ModelError(f"{name} of the base weights {record.name!r} is not in the store") from error
