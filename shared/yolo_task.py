"""The YOLO tasks, and what a person calls the objects of each."""

from typing import Literal

YoloTask = Literal["detect", "segment", "obb", "pose", "classify"]

OBJECTS: dict[YoloTask, tuple[str, str]] = {
    "detect": ("box", "boxes"),
    "obb": ("rotated box", "rotated boxes"),
    "segment": ("outline", "outlines"),
    "pose": ("pose", "poses"),
    "classify": ("label", "labels"),
}
"""Singular and plural of what an annotator makes: for counts that people read."""
