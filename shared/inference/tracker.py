"""Objects followed from frame to frame of a video, by the package `trackers` (the extra `video`)."""

from dataclasses import replace
from typing import Any

import numpy as np

from shared.errors import SettingsError
from shared.geometry.detections import Detections
from shared.inference.engine import Pixels

_BEGINS = 0.25
"""Confidence from which a track begins, and is matched first; that of ultralytics' trackers."""
_LEAST = 0.1
"""Confidence of boxes with which a track goes on."""

_SMALLER = 4
"""Times that a frame is made smaller to see how the camera moved: half the time of the package's 2."""


class Tracker:
    """BoT-SORT for one video; bytetrack is the same without looking at how the camera moves.

    With a threshold below `_BEGINS` tracks begin there, and overlap is not multiplied by confidence, since boxes of low
    confidence would never match.
    """

    def __init__(self, name: str, threshold: float) -> None:
        """`name`: botsort or bytetrack. `threshold`: confidence from which objects are shown. Raises SettingsError."""
        try:
            from trackers import BoTSORTTracker
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"objects in videos are followed by the package trackers, and {error.name} is not installed: "
                "pip install 'labelloop[video]'"
            ) from error
        self.least = min(_LEAST, threshold)
        self._begins = min(_BEGINS, threshold)
        self._sure = threshold < _BEGINS
        self._tracker: Any = BoTSORTTracker(
            track_activation_threshold=self._begins,
            high_conf_det_threshold=self._begins,
            enable_cmc=name == "botsort",
            cmc_downscale=_SMALLER,
        )

    def follow(self, found: Detections, image: Pixels) -> Detections:
        """The boxes in the next frame that belong to a track, with its number."""
        from supervision import Detections as Boxes

        scores = np.where(self._sure & (found.scores >= self._begins), 1.0, found.scores)
        boxes = Boxes(xyxy=found.xyxy, confidence=scores, class_id=np.arange(len(found)))
        followed: Any = self._tracker.update(boxes, image if self._tracker.enable_cmc else None)
        some = followed.tracker_id >= 0
        which = followed.class_id[some] if len(followed) else np.zeros(0, dtype=np.int64)
        return replace(found.only(which), tracks=followed.tracker_id[some].astype(np.int64))
