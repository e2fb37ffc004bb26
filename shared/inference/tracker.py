"""Objects followed from frame to frame of a video, by ultralytics' trackers (the extra `video`)."""

from dataclasses import replace
from typing import Any

import numpy as np

from shared.errors import SettingsError
from shared.geometry.detections import Detections
from shared.inference.engine import Pixels


class Tracker:
    """For one video, with the settings of ultralytics' package; `model.track()` would read them from any file.

    By default it begins a track at a confidence of 0.25. With a lower threshold this is lowered too, and overlap is not
    multiplied by confidence, since boxes of low confidence would never match.
    """

    def __init__(self, name: str, threshold: float) -> None:
        """`name`: botsort or bytetrack. `threshold`: confidence from which objects are shown. Raises SettingsError."""
        try:
            from ultralytics.trackers.track import TRACKER_MAP
            from ultralytics.utils import ROOT, YAML, IterableSimpleNamespace
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"objects in videos are followed by ultralytics, and {error.name} is not installed: "
                "pip install 'labelloop[video]'"
            ) from error

        settings: dict[str, Any] = YAML.load(ROOT / "cfg" / "trackers" / f"{name}.yaml")  # type: ignore[no-untyped-call]
        settings["fuse_score"] &= threshold >= settings["new_track_thresh"]
        for key in ("track_high_thresh", "new_track_thresh", "track_low_thresh"):
            settings[key] = min(settings[key], threshold)
        self.least: float = settings["track_low_thresh"]  # confidence of boxes that it uses
        self._tracker: Any = TRACKER_MAP[name](args=IterableSimpleNamespace(**settings))

    def follow(self, found: Detections, image: Pixels) -> Detections:
        """The boxes in the next frame that belong to a track, with its number."""
        from ultralytics.engine.results import Boxes

        table = np.column_stack([found.xyxy, found.scores, found.classes]).astype(np.float32)
        rows = self._tracker.update(Boxes(table, (found.height, found.width)), image).reshape(-1, 8).astype(np.float64)
        some = found.only(rows[:, 7].astype(np.int64))
        return replace(some, xyxy=rows[:, :4], tracks=rows[:, 4].astype(np.int64))
