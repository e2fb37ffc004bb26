"""The metadata of a graph, read from the bytes of its file."""

from pathlib import Path

import pytest

from shared.errors import ModelError
from shared.geometry.tiles import Tiling
from shared.inference.graph import TILES, Graph, read_graph, tiling_metadata

DETECT = {"task": "detect", "names": "{0: 'Tree', 1: 'It\\'s a rock'}", "stride": "32", "imgsz": "[448, 448]"}


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_file(path: Path, metadata: dict[str, str], network: bytes = b"\x01" * 300) -> Path:
    """IR version (a number), the network, and metadata as an ONNX file holds them (onnx.proto)."""
    entries = (field(1, key.encode()) + field(2, value.encode()) for key, value in metadata.items())
    path.write_bytes(varint(1 << 3) + varint(8) + field(7, network) + b"".join(field(14, entry) for entry in entries))
    return path


def test_what_ultralytics_writes(tmp_path: Path) -> None:
    more = {"kpt_shape": "[17, 3]", "kpt_names": "{0: ['nose', 'eye']}", "end2end": "False", "version": "8.4.190"}
    path = onnx_file(tmp_path / "weights.onnx", DETECT | more | {"task": "pose", "imgsz": "[320, 448]"})
    assert read_graph(path) == Graph(
        yolo_task="pose",
        names=("Tree", "It's a rock"),
        stride=32,
        image_size=448,
        end_to_end=False,
        point_shape=(17, 3),
        point_names=("nose", "eye"),
        ultralytics="8.4.190",
    )


def test_what_only_some_graphs_say(tmp_path: Path) -> None:
    found = read_graph(onnx_file(tmp_path / "weights.onnx", DETECT | {"end2end": "True"}))
    assert (found.end_to_end, found.point_shape, found.point_names, found.tiling) == (True, (0, 0), (), None)


def test_what_labelloop_writes(tmp_path: Path) -> None:
    tiling = Tiling(960, 128)
    assert tiling_metadata(tiling) == '{"side": 960, "overlap": 128}'
    found = read_graph(onnx_file(tmp_path / "weights.onnx", DETECT | {TILES: tiling_metadata(tiling)}))
    assert found.tiling == tiling


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "semantic"}, r"weights\.onnx is a semantic model: labelloop serves detect, segment"),
        ({"names": "__import__('os')"}, r"the metadata of weights\.onnx cannot be understood"),
        ({"names": "{1: 'Tree'}"}, r"the metadata of weights\.onnx cannot be understood"),
        ({"stride": "wide"}, r"the metadata of weights\.onnx cannot be understood"),
    ],
)
def test_metadata_that_is_not_served(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_graph(onnx_file(tmp_path / "weights.onnx", DETECT | changes))


@pytest.mark.parametrize("bytes_", [b"GIF89a no graph", b"\xff" * 20, b"\x3a\xff\xff\xff\x0f", b"PK\x03\x04" * 9])
def test_a_file_that_is_no_graph(tmp_path: Path, bytes_: bytes) -> None:
    (tmp_path / "weights.onnx").write_bytes(bytes_)
    with pytest.raises(ModelError, match=r"weights\.onnx is no ONNX file"):
        read_graph(tmp_path / "weights.onnx")


def test_a_graph_of_somebody_else(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no metadata task, names, stride, imgsz"):
        read_graph(onnx_file(tmp_path / "weights.onnx", {"author": "me"}))


def test_a_graph_that_was_cut_off(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "weights.onnx", DETECT)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelError, match="it ends too early"):
        read_graph(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"names": "{0: 'Tree', 1: " + "-" * 3000 + "1}"},
        {"names": "{0: " + "1+" * 3000 + "1j}"},
        {"kpt_names": "['nose']"},
        {"kpt_shape": "[]"},
        {"names": "{}"},
        {"stride": "0"},
        {"imgsz": "[-640, -640]"},
        {TILES: "640"},
        {TILES: "[" * 9000},
        {TILES: '{"side": 640}'},
        {TILES: '{"side": 1e400, "overlap": 1}'},
        {TILES: '{"side": "640", "overlap": 64}'},
        {TILES: '{"side": true, "overlap": true}'},
        {TILES: '{"side": 640, "overlap": 0}'},
        {TILES: '{"side": 640, "overlap": 639}'},
        {TILES: '{"side": 2, "overlap": 1}'},
    ],
)
def test_metadata_that_nobody_could_serve_are_a_fault_of_the_file(tmp_path: Path, changes: dict[str, str]) -> None:
    """Else a load would be tried again and again, as if memory were short."""
    with pytest.raises(ModelError, match=r"the metadata of weights\.onnx"):
        read_graph(onnx_file(tmp_path / "weights.onnx", DETECT | changes))


def test_an_entry_that_claims_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(field(14, field(1, b"task") + varint(2 << 3 | 2) + varint(2**63)))
    with pytest.raises(ModelError, match=r"weights\.onnx is no ONNX file: it ends too early"):
        read_graph(path)
