"""From which confidence an object of a label is shown, and how much two may overlap; and who says so. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.labelstudio.controls import Control
from shared.settings import Settings
from shared.state.versions import DEFAULT_SHOWN, Shown

Source = Literal["config", "settings", "version", "default"]
"""The labeling config's attribute, a setting, what the version's training chose, or labelloop's default."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Of one label, each with its source."""

    confidence: float
    confidence_from: Source
    iou: float
    iou_from: Source

    @property
    def shown(self) -> Shown:
        """Without the sources."""
        return Shown(confidence=self.confidence, iou=self.iou)


def thresholds_of(control: Control, label: str | None, settings: Settings, chosen: Mapping[str, Shown]) -> Thresholds:
    """The control's attributes come before the settings, and these, if set, before `chosen`: label → the version's."""
    of_version = chosen.get(label) if label is not None else None
    otherwise: Source = "version" if of_version else "default"
    first, second = "model_score_threshold", "model_conf"
    if control.tag == "VideoRectangle":  # the only one for which Label Studio's YOLO example reads model_conf
        first, second = second, first

    def decided(names: tuple[str, ...], setting: float | None, version: float) -> tuple[float, Source]:
        for name in names:
            if (written := control.number(name, -1.0)) >= 0:
                return written, "config"
        return (version, otherwise) if setting is None else (setting, "settings")

    fallback = of_version or DEFAULT_SHOWN
    confidence = decided((first, second), settings.confidence, fallback.confidence)
    return Thresholds(*confidence, *decided(("model_iou",), settings.iou, fallback.iou))
