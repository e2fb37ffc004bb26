"""Where people are told that a version looks at tiles."""

from pathlib import Path

from rich.console import Console

from functions.train_trigger.status.policy import presets
from infra.cli.dataset import _card
from infra.cli.model_card import model_card
from infra.cli.versions import render_versions
from infra.datasets.rebuilding import Rebuilt
from jobs.train.data.comparing import compare
from jobs.train.data.dataset import Counts, Dataset
from jobs.train.data.files import ImageFiles
from shared.evolve import evolve
from shared.labelstudio.config import parse_label_config
from shared.state.versions import FileEntry, Gate, Manifest, Tiles
from tests.fakes.train_parts import CONFIG, CREATED, UID

[CONTROL] = parse_label_config(CONFIG)
WHOLE = Manifest(
    version=2,
    control="label",
    yolo_task="detect",
    labels=("Tree",),
    files=(FileEntry(name="weights.pt", sha256="0" * 64, size=1),),
    metrics={},
    gate=Gate(metric="mAP50-95", challenger=0.5, champion=None, champion_version=None, passed=True, reason="first"),
    lineage={"epochs": 5, "batch": 4, "images": {"train": 9, "val": 1}, "tiles": 8},
    run_id="r",
    fence=1,
    created_at=CREATED,
)
TILED = evolve(WHOLE, version=3, tiling=Tiles(side=320, overlap=64))
SAID = "tiles of 320 pixels that overlap by 64"


def test_each_says_it_of_a_tiled_version_alone(tmp_path: Path) -> None:
    card, policy, versions, dataset = (
        [_said(manifest, tmp_path)[place] for manifest in (WHOLE, TILED)] for place in range(4)
    )
    for whole, tiled in (card, policy, versions):
        assert "tiles" not in whole
        assert SAID in tiled
    assert "tiles" not in dataset[0]
    assert "The version learnt from tiles of 320 pixels of these pictures" in dataset[1]
    assert "have all their pixels" in dataset[1]


def test_it_is_a_difference_between_versions() -> None:
    assert compare(WHOLE, TILED, None).training["tiles"] == (None, SAID)


def _said(manifest: Manifest, folder: Path) -> tuple[str, str, str, str]:
    shown = manifest.model_dump(mode="json") | {
        "outcome": "promoted",
        "why": "",
        "serving": True,
        "note": "",
        "report": False,
        "seconds": None,
        "cost": None,
    }
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render_versions("label", [shown]))
    rebuilt = Rebuilt(Dataset(folder, ("Tree",), Counts()), ImageFiles(_NoFiles(), folder, max_pixels=1), "")
    return (
        model_card(manifest, uid=UID, format_name="ONNX", model="weights.onnx"),
        " ".join(presets([(CONTROL, manifest)])),
        captured.get(),
        _card(manifest, rebuilt, "yolo"),
    )


class _NoFiles:
    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        raise AssertionError
