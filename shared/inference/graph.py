"""What a graph says of itself: the metadata that ultralytics' exporter and labelloop write into an ONNX file.

They are read here and not by an engine: so all engines serve the same, and a file that is no graph is known before one
is asked. An ONNX file is a ModelProto (onnx.proto); `metadata_props` is its field 14, strings by name.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

from shared.errors import ModelError
from shared.geometry.tiles import Tiling
from shared.yolo_task import YoloTask

TILES = "labelloop_tiles"
"""Name of labelloop's own entry: `{"side": 640, "overlap": 96}`, of a graph that sees large pictures in tiles."""
_METADATA = 14
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
"""Wire types of protocol buffers."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What is known of a graph before it is loaded."""

    yolo_task: YoloTask
    names: tuple[str, ...]  # class index → name
    stride: int  # height and width of what it is shown are multiples of it
    image_size: int  # pixels of the longer side that it learnt with
    end_to_end: bool  # its head suppresses by itself
    point_shape: tuple[int, int]  # of pose: points an object, numbers a point (2, or 3 with confidence); else (0, 0)
    point_names: tuple[str, ...]  # of pose, where the weights know any
    ultralytics: str  # version that exported it
    tiling: Tiling | None = None  # how large pictures are cut for it; None: they are not


def read_graph(path: Path) -> Graph:
    """The metadata of an ONNX file. Raises ModelError if it is none that is served, OSError."""
    with path.open("rb") as file:
        try:
            found = dict(_metadata(file, path.stat().st_size))
        except (EOFError, ValueError) as error:
            raise ModelError(f"{path.name} is no ONNX file: {error}") from error
    missing = [name for name in ("task", "names", "stride", "imgsz") if name not in found]
    if missing:
        raise ModelError(f"{path.name} has no metadata {', '.join(missing)}: ultralytics' exporter writes them")
    if found["task"] not in get_args(YoloTask):
        served = ", ".join(get_args(YoloTask))
        raise ModelError(f"{path.name} is a {found['task']} model: labelloop serves {served}")
    try:
        graph = _graph(found)
    except (AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        raise ModelError(f"the metadata of {path.name} cannot be understood: {error}") from error
    if not graph.names or graph.stride < 1 or graph.image_size < 1:
        raise ModelError(f"the metadata of {path.name} tell of no class, or of no size")
    return graph


def _graph(found: Mapping[str, str]) -> Graph:
    names: dict[int, Any] = ast.literal_eval(found["names"])
    size = ast.literal_eval(found["imgsz"])
    points = ast.literal_eval(found.get("kpt_shape", "(0, 0)"))
    point_names: dict[int, Any] = ast.literal_eval(found.get("kpt_names", "{}"))  # class index → names
    return Graph(
        yolo_task=found["task"],  # type: ignore[arg-type]
        names=tuple(str(names[index]) for index in range(len(names))),
        stride=int(found["stride"]),
        image_size=max(map(int, size)) if isinstance(size, list | tuple) else int(size),
        end_to_end=found.get("end2end", "False") == "True",
        point_shape=(int(points[0]), int(points[1])),
        point_names=tuple(map(str, point_names.get(0, ()))),
        ultralytics=found.get("version", ""),
        tiling=_tiling(found[TILES]) if TILES in found else None,
    )


def _tiling(written: str) -> Tiling:
    told: Any = json.loads(written)
    side, overlap = told["side"], told["overlap"]
    if type(side) is not int or type(overlap) is not int:
        raise TypeError(f"{TILES} are no whole numbers")
    return Tiling(side, overlap)


def tiling_metadata(tiling: Tiling) -> str:
    """What `TILES` holds for a tiling."""
    return json.dumps({"side": tiling.side, "overlap": tiling.overlap})


def _metadata(file: BinaryIO, size: int) -> Iterator[tuple[str, str]]:
    """Name and value of each entry. Other fields are skipped, the network among them."""
    while file.tell() < size:
        field, length = _next_field(file)
        if length > size - file.tell():
            raise EOFError("it ends too early")
        if field != _METADATA:
            file.seek(length, 1)
            continue
        end = file.tell() + length
        entry = {1: "", 2: ""}
        while file.tell() < end:
            inner, length = _next_field(file)
            if length > end - file.tell():
                raise EOFError("it ends too early")
            entry[inner] = file.read(length).decode()
        yield entry[1], entry[2]


def _next_field(file: BinaryIO) -> tuple[int, int]:
    """Number of the field that begins here, and the bytes of its value that follow."""
    key = _varint(file)
    field, wire = key >> 3, key & 7
    if wire == _VARINT:
        _varint(file)
        return field, 0
    lengths = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
    if field == 0 or wire not in (_LENGTH, *lengths):
        raise ValueError("its bytes are no protocol buffer")
    return field, lengths[wire] if wire in lengths else _varint(file)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError("it ends too early")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("its bytes are no protocol buffer")
