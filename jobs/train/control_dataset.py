"""Builds the dataset of one control. Whether its pictures are cut into tiles is decided once, for all attempts."""

import logging
from contextlib import suppress

from jobs.train.attempt import Attempt
from jobs.train.champion import serving
from jobs.train.data import dataset as datasets
from jobs.train.data.dataset import Dataset
from jobs.train.data.samples import Views
from jobs.train.data.tiling import decide, sizes_of
from shared.errors import AlreadyExists, NotFound
from shared.geometry.tiles import Tiling
from shared.labelstudio.controls import Control
from shared.labelstudio.tiles_wanted import tiles_wanted
from shared.state import keys
from shared.state.records import Record, load
from shared.state.versions import Tiles

logger = logging.getLogger(__name__)


class Decided(Record):
    """`tiles/<control>.json` of a run."""

    tiling: Tiles | None = None  # None: whole pictures
    median: float | None = None  # side of the annotated objects in whole pictures, in pixels at the model's input
    objects: int = 0  # that were looked at


def build_dataset(attempt: Attempt, control: Control) -> Dataset | None:
    """Fetch the images and write the dataset to the scratch folder; None if no task has an object of the control.

    Raises as `datasets.build`, and what `attempt.check_of` raises.
    """
    attempt.progress.phase("dataset", control=control.name)
    return datasets.build(
        attempt.snapshot.tasks_for(control),
        control,
        attempt.images,
        attempt.folder_of(control, "dataset"),
        check=attempt.check_of(control),
        last=attempt.last,
        views=_views(attempt, control),
    )


def _views(attempt: Attempt, control: Control) -> Views:
    """What is made of each picture. Raises StoreError."""
    tiling = _decided(attempt, control).tiling
    # An earlier version may be the one to compare with: each is measured as it is served.
    in_full = tiling or any(manifest.tiling for manifest in attempt.registry.readable(control.name))
    return Views(Tiling(tiling.side, tiling.overlap) if tiling else None, ("val",) if in_full else ())


def _decided(attempt: Attempt, control: Control) -> Decided:
    wanted = tiles_wanted(control, attempt.settings.tiles)
    if wanted == "off":  # nothing to be kept: the settings of a run stay
        return Decided()
    store, key = attempt.store, keys.tiles(attempt.jobs.uid, attempt.run_id, control.name)
    with suppress(NotFound):
        return load(Decided, store, key)[0]
    snapshot = attempt.snapshot
    sizes = sizes_of(snapshot.tasks_for(control), control, snapshot.header.tasks)
    image_size = attempt.settings.image_size
    served = serving(attempt, control)
    tiling = decide(wanted, sizes, image_size, cut_before=served is not None and served.tiling is not None)
    decided = Decided(
        tiling=Tiles(side=tiling.side, overlap=tiling.overlap) if tiling else None,
        median=round(sizes.at(image_size), 1) if len(sizes.sides) else None,
        objects=len(sizes.sides),
    )
    with suppress(AlreadyExists):  # by an attempt that still ran: both decided the same
        store.create(key, decided.to_json())
    logger.info(
        _sentence(decided, image_size),
        extra={"event": "tiles_decided", "control": control.name, "median": decided.median, "objects": decided.objects},
    )
    return decided


def _sentence(decided: Decided, image_size: int) -> str:
    what = f"tiles of {decided.tiling.side} pixels" if decided.tiling else "whole pictures"
    if decided.median is None:
        return f"{what}: no annotated object tells its size"
    return f"{what}: the median object is {decided.median:g} pixels wide in a whole picture of {image_size}"
