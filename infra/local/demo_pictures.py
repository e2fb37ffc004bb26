"""Pictures of the demo: the expert's boxes, and the model's before and after, side by side."""

import io
from pathlib import Path

from PIL import Image, ImageDraw

from infra.local.samples import Tile
from shared.geometry import Floats

_SCALE = 2
_GAP = 8  # pixels
_CAPTION = 18
_PANELS = (("expert", "#3ddc84"), ("before training", "#ffb300"), ("after training", "#29b6f6"))


def draw(folder: Path, tiles: list[Tile], before: list[Floats], after: list[Floats]) -> Path:
    """Write one picture a tile and `overview.png` of all into `folder`; boxes are (N, 4) pixel corners of the tile."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for tile, *found in zip(tiles, before, after, strict=True):
        row = _row(tile, [tile.boxes, *found])
        row.save(folder / f"tile-{tile.name}.png")
        rows.append(row)
    overview = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        overview.paste(row, (0, top))
        top += row.height
    overview.save(folder / "overview.png")
    return folder


def _row(tile: Tile, boxes: list[Floats]) -> Image.Image:
    """The tile once for each set of boxes, with a caption above."""
    image = Image.open(io.BytesIO(tile.data)).convert("RGB").resize((tile.width * _SCALE, tile.height * _SCALE))
    row = Image.new("RGB", (len(boxes) * (image.width + _GAP) - _GAP, image.height + _CAPTION + _GAP), "white")
    pen = ImageDraw.Draw(row)
    for number, (some, (caption, color)) in enumerate(zip(boxes, _PANELS, strict=True)):
        left = number * (image.width + _GAP)
        row.paste(image, (left, _CAPTION))
        pen.text((left + 2, 3), f"tile {tile.name}, {caption}: {len(some)} boxes", fill="black")
        for x1, y1, x2, y2 in (some * _SCALE).tolist():
            pen.rectangle((left + x1, _CAPTION + y1, left + x2, _CAPTION + y2), outline=color, width=2)
    return row
