"""The halves that the demo of tiles compares on, and what it prints. No test plays its trainings: they take minutes."""

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from infra.demo.controls import DEMOS
from infra.demo.pictures import draw_row
from infra.demo.tiles import SIDE, Compared, Way, _task, halves, show
from jobs.train.data.tiling import decide, sizes_of
from shared.geometry.tiles import Tiling


def test_the_halves_are_all_of_the_photograph_and_show_each_tree() -> None:
    left, right = halves()
    widths = [Image.open(io.BytesIO(half.data)).size for half in (left, right)]
    assert widths == [(624, 1035), (625, 1035)]
    assert [len(half.expert[0]) for half in (left, right)] == [135, 147], "of 279: three on the border are in both"
    assert all((half.expert[0].xyxy[:, 2] <= half.expert[0].width).all() for half in (left, right))


def test_both_ways_stand_side_by_side(tmp_path: Path) -> None:
    left, right = halves()
    sizes = sizes_of([_task(1, left, DEMOS["detect"].control, "train")], DEMOS["detect"].control, 1)
    tiling = decide(SIDE, sizes, 640)
    assert tiling == Tiling(SIDE, 65)
    metrics = dict.fromkeys(("mAP50", "mAP50-95", "precision", "recall", "saved"), 0.25)
    whole = Way(None, 1, 26, 52, 60.0, metrics, right.expert[0], tmp_path)
    tiled = Way(tiling, 13, 26, 52, 60.0, metrics | {"mAP50": 0.4}, right.expert[0], tmp_path)
    found = Compared(right, sizes, whole, tiled)
    console = Console(width=80)
    with console.capture() as captured:
        show(found, console)
    assert "mAP50 with tiles is 1.60 × that without" in captured.get()
    assert found.as_json()["tiles"]["side"] == SIDE
    assert found.ratio == pytest.approx(1.6)
    drawn = draw_row(tmp_path / "row.png", right, [right.expert[0]] * 3, ("annotation", "whole pictures", "tiles"))
    with Image.open(drawn) as opened:
        assert opened.size[0] > 3 * 625
