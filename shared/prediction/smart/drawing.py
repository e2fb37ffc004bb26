"""The use case: what an annotator's smart tool asks is answered by the shape of one object, or by nothing.

What the model finds in a picture, also what it is least sure of, is kept with the picture's file: a further click on it
costs neither a download nor a forward pass. What takes too long is answered by nothing and goes on, so that the next
click finds it: an annotator's page never waits for long.
"""

import hashlib
import logging
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shared.errors import ImageError, LabelloopError
from shared.geometry.detections import Detections, Floats, clip_xyxy, corners_to_xywhr, envelope
from shared.geometry.seams import moved
from shared.geometry.tiles import Tiling, pixels_needed
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.regions.extents import upright_box
from shared.labelstudio.regions.rectangles import rectangle_corners
from shared.labelstudio.requests import INTERACTIVE_SECONDS, PredictRequest, Task
from shared.labelstudio.smart import Gesture, control_of, drawn_values, read_gesture
from shared.labelstudio.task_values import file_of
from shared.labelstudio.tiles_wanted import base_tiling
from shared.media.crop import crop
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.pending import result_of
from shared.prediction.ports import DeadlineExceeded, Model, Models
from shared.prediction.region_ids import SMART, with_own_ids
from shared.prediction.smart.choosing import FROM, clicked, dragged, in_box, without_copies, worth_of
from shared.prediction.smart.kept import Kept
from shared.prediction.unanswered import Unanswered
from shared.settings import Settings
from shared.state.model_version import stamp

logger = logging.getLogger(__name__)

_PICTURES, _MAX_BYTES = 64, 256_000_000
"""Pictures of which file and candidates are kept, and their bytes together."""
_AROUND = 0.15  # of a rough box's sides, seen on each side of it: 30 % more of each
_MASKED = 25_000_000  # pixels of a draft's masks that are read for a click, in some 50 ms
_ENCODED = 500_000  # bytes of them, since each may be a run of its own: half a second at worst
_LOOKING_SECONDS = 90.0  # for fetching a picture and looking at it, whoever waits for it


@dataclass(frozen=True, slots=True)
class _Look:
    """A picture, and what a model sees in it."""

    file: bytes
    candidates: Detections

    @property
    def size(self) -> int:
        """Bytes in memory, roughly."""
        outlines, masks = self.candidates.outlines or (), self.candidates.masks
        rings = sum(ring.nbytes + 100 for outline in outlines for ring in outline)
        return len(self.file) + 200 * len(self.candidates) + rings + (masks.nbytes if masks is not None else 0)


class SmartTools:
    """Answers the interactive requests of `/predict`. Thread-safe."""

    def __init__(self, models: Models, images: TaskImages, metrics: Metrics) -> None:
        self._models = models
        self._images = images
        self._metrics = metrics
        self._looks: Kept[_Look] = Kept(lambda look: look.size, entries=_PICTURES, max_bytes=_MAX_BYTES)

    def draw(self, call: PredictRequest, settings: Settings, deadline: float) -> dict[str, Any] | Unanswered:
        """The prediction of the first task, with the regions of one object. `deadline` is a time.monotonic() value, at
        most `INTERACTIVE_SECONDS` of it are used. `settings`: of the project. Raises LabelConfigError.
        """
        deadline = min(deadline, time.monotonic() + INTERACTIVE_SECONDS)
        controls, gesture = parse_label_config(call.label_config), read_gesture(call.params.context)
        if gesture is None or not len(call.tasks):
            return self._nothing("nothing", "there is no point and no box")
        control = control_of(gesture, controls)
        if control is None:
            label = repr(gesture.label[:40]) if gesture.label else "no label"
            return self._nothing("failed", f"no control of boxes, polygons, brushes or ellipses has {label}")
        try:
            return self._draw(call.project, call.tasks[0], control, gesture, settings, deadline)
        except DeadlineExceeded:
            return self._nothing("later", "it takes longer than an annotator waits; the next click may find it done")
        except LabelloopError as error:
            reason = error.reason if isinstance(error, ImageError) else "model"
            return self._failed(call.project, reason, str(error))
        except Exception as error:
            logger.exception("unexpected error of a smart tool", extra={"event": "smart_crashed"})
            return self._failed(call.project, "crashed", type(error).__name__)

    def _draw(
        self, uid: str, task: Task, control: Control, gesture: Gesture, settings: Settings, deadline: float
    ) -> dict[str, Any] | Unanswered:
        served = self._models.serving(uid, control, deadline)
        address = file_of(control.value, task.data, task.id)
        key = uid, control.name, served.version, hashlib.sha256(address.encode()).digest()
        tiling = served.model.tiling if served.trained else base_tiling(control, settings.tiles)
        looking = self._looks.get(key, lambda: self._look(task, control.value, served.model, tiling))
        look = _waited_for(looking, deadline)
        if gesture.box is None:
            drawn = drawn_boxes(task.drafts, control.to_name, look.candidates.width, look.candidates.height)
            found = self._clicked(look.candidates, gesture, drawn)
            as_drawn = None
        else:
            corners = rectangle_corners(gesture.box, look.candidates.width, look.candidates.height)
            if corners is None:
                return self._nothing("nothing", "the box has no numbers that can be")
            found = self._dragged(look, corners, served.model, deadline)
            as_drawn = _as_drawn(corners, control, look.candidates)
        meant = found or as_drawn
        if meant is None:
            return self._nothing("nothing", "the model sees nothing there that is not drawn yet")
        # With the label that the annotator chose, whatever the object's class is. A <Rectangle> can be drawn without.
        own = class_labels(meant.names, control, trained=served.trained)
        regions = CONTROLS[control.tag].write(meant, [gesture.label or label for label in own], control)
        if not regions:
            return self._nothing("nothing", "what is meant has no area in the picture")
        self._metrics.drew("found" if found else "as_drawn")
        return {
            "result": with_own_ids(regions, SMART),
            "score": float(meant.scores[0]),
            "model_version": stamp([(control.name, served.version)]),
        }

    def _look(self, task: Task, value: str, model: Model, tiling: Tiling | None) -> _Look:
        """Fetch the picture and ask the model for everything that it may be. `tiling`: how a large one is cut."""
        deadline = time.monotonic() + _LOOKING_SECONDS
        file = self._images.fetch(task, value, deadline)
        with self._images.room([file] if tiling else (), deadline):
            side = partial(pixels_needed, image_size=model.image_size, tiling=tiling) if tiling else model.image_size
            pixels, whole = self._images.decode(file, side, deadline)
            asked = model.submit(pixels, FROM, whole=whole, outlined_from=None, tiling=tiling, deadline=deadline)
            return _Look(file, without_copies(result_of(asked, deadline)))

    def _clicked(self, candidates: Detections, gesture: Gesture, drawn: Floats) -> Detections | None:
        size = np.array([candidates.width, candidates.height])
        places = np.array([(point.x, point.y) for point in gesture.points]) / 100.0 * size
        positive = np.array([point.positive for point in gesture.points])
        if not positive.any():
            return None
        there = candidates.only(in_box(candidates, places[positive][-1])).outlined()  # of others, outlines cost time
        meant = clicked(there, places, positive, drawn)
        return None if meant is None else there.only(np.array([meant]))

    def _dragged(self, look: _Look, corners: Floats, model: Model, deadline: float) -> Detections | None:
        """The object that a rough box means, seen from near or in the whole picture. `corners`: (4, 2)."""
        width, height = look.candidates.width, look.candidates.height
        box = clip_xyxy(envelope(corners[None]), width, height)[0]
        if not (box[2:] - box[:2] >= 1).all():
            return None
        margin = _AROUND * (box[2:] - box[:2])
        around = clip_xyxy(np.concatenate([box[:2] - margin, box[2:] + margin])[None], width, height)[0]
        with self._images.room([look.file], deadline):
            cut = crop(self._images.decode(look.file, None, deadline).pixels, around)
            near = without_copies(result_of(model.submit(cut, FROM, outlined_from=None), deadline))
        corner = int(around[0]), int(around[1])  # as `crop` rounds it
        near = _worth_outlines(near, box - np.tile(corner, 2))
        views = moved(near, corner, width, height), _worth_outlines(look.candidates, box)
        meant = [view.only(np.array([index])) for view in views if (index := dragged(view, box)) is not None]
        return max(meant, key=lambda one: float(worth_of(one, box)[0]), default=None)

    def _nothing(self, outcome: str, message: str) -> Unanswered:
        """What a person sees at once, and no fault."""
        self._metrics.drew(outcome)
        return Unanswered(f"smart_{outcome}", message)

    def _failed(self, uid: str, reason: str, message: str) -> Unanswered:
        self._metrics.drew("failed")
        self._metrics.failed(reason)
        logger.warning(
            f"a smart tool gets no answer: {message}", extra={"event": "smart_failed", "project": uid, "reason": reason}
        )
        return Unanswered(reason, message)


def drawn_boxes(drafts: object, to_name: str, width: int, height: int, *, masked: int = _MASKED) -> Floats:
    """(M, 4) xyxy in pixels of what a task's drafts have in a picture; of masks the newest, `masked` pixels together.

    `to_name`: of the picture's tag.
    """
    found, left, encoded = [], masked, _ENCODED
    for value in reversed(drawn_values(drafts, to_name)):
        if "rle" in value:
            left -= width * height
            size = len(value["rle"]) if isinstance(value["rle"], list) else 0
            if left < 0 or size > encoded:
                continue
            encoded -= size
        if (box := upright_box(value, width, height)) is not None:
            found.append(box)
    return np.array(found).reshape(-1, 4)


def _waited_for(looking: "Future[_Look]", deadline: float) -> _Look:
    """The look, if it is there by the deadline (time.monotonic()). Raises DeadlineExceeded (it goes on), its errors."""
    try:
        return looking.result(timeout=max(deadline - time.monotonic(), 0.0))
    except TimeoutError as error:
        raise DeadlineExceeded("the picture was not looked at in time") from error


def _worth_outlines(candidates: Detections, box: Floats) -> Detections:
    """Those that a rough box may mean, with outlines."""
    return candidates.only(worth_of(candidates, box) > 0).outlined()


def _as_drawn(corners: Floats, control: Control, picture: Detections) -> Detections:
    """The box that was drawn, as an object of the control's shape. `corners`: (4, 2) pixels of the picture."""
    return Detections.annotated(
        picture.width,
        picture.height,
        envelope(corners[None]),
        [0],
        ("",),
        rotated=corners_to_xywhr(corners)[None] if control.yolo_task == "obb" else None,
        outlines=((corners,),) if control.yolo_task == "segment" else None,
    )
