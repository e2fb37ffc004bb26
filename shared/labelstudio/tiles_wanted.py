"""Whether a control's pictures are looked at in tiles: its attribute `model_tiles`, else LABELLOOP_TILES. Pure."""

from typing import Literal

from shared.geometry.tiles import Tiling
from shared.labelstudio.attributes import ATTRIBUTES
from shared.labelstudio.controls import Control

_SHARED = 5
"""Tiles of base weights share a fifth of their side: how large the objects are is not known yet."""


def tiles_wanted(control: Control, setting: str) -> Literal["auto", "off"] | int:
    """auto, off, or the pixels of a tile's side. `setting`: LABELLOOP_TILES.

    Always off for classes of whole pictures or of regions, and for videos.
    """
    attribute = ATTRIBUTES["model_tiles"]
    if control.tag not in attribute.tags:
        return "off"
    for written in (control.attributes.get("model_tiles", ""), setting):
        if (word := attribute.word(written)) is not None:
            return "auto" if word == "auto" else "off"
        if (pixels := attribute.number(written)) is not None:
            return int(pixels)
    return "auto"


def base_tiling(control: Control, setting: str) -> Tiling | None:
    """How base weights cut the pictures of a control: only where a number is set. A version's graph says it itself."""
    side = tiles_wanted(control, setting)
    return Tiling(side, side // _SHARED) if isinstance(side, int) else None
