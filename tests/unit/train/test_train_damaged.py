"""Trainings of a project of which a record is damaged that they can do without."""

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.train.data.snapshot import download
from jobs.train.ending import DONE
from shared.errors import StoreRefusal
from shared.state import keys
from tests.fakes.train_parts import UID, annotation, rectangle
from tests.fakes.train_world import World


def somebody_annotates(world: World, day: int) -> None:
    first = world.studio.all[0]
    made = annotation(first.id, [rectangle()], updated_at=f"2026-05-{day:02d}T00:00:00Z")
    world.studio.all[0] = replace(first, annotations=(made,))


@pytest.fixture
def trained(world: World) -> World:
    """Two versions, and annotations that are newer."""
    for day in (1, 2):
        assert world.new_run() == DONE
        somebody_annotates(world, day)
    assert world.served() == 2
    return world


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe{}"])
@pytest.mark.parametrize(
    "key",
    [
        keys.manifest(UID, "label", 1),
        keys.dismissals(UID, "label"),
        keys.notes(UID, "label"),
        keys.rejection(UID, "label", 1),
        keys.project(UID),
        keys.effort(UID),
    ],
)
def test_a_training_goes_on_without_it(key: str, data: bytes, trained: World) -> None:
    trained.store.put(key, data)
    assert trained.new_run(forced=False) == DONE
    assert (trained.outcome, trained.served()) == ("promoted", 3)
    stored = trained.store.get(key)
    assert stored is not None
    assert stored.data == data, "somebody may mend it"


@pytest.mark.parametrize("keep", [0, 20, 500, 2500, "all but one line"])
def test_the_last_snapshot_only_spares_requests(keep: int | str, trained: World, tmp_path: Path) -> None:
    key = max(key for key in trained.store.list(f"{keys.runs(UID)}/") if key.endswith("/dataset.json"))
    stored = trained.store.get(key)
    assert stored is not None
    end = keep if isinstance(keep, int) else stored.data.rindex(b"\n", 0, -1) + 1
    trained.store.put(key, stored.data[:end])
    with pytest.raises(StoreRefusal, match=f"{key} is no snapshot of this labelloop"):
        list(download(trained.store, key, tmp_path / "damaged.json").tasks())  # type: ignore[union-attr]
    assert trained.new_run(forced=False) == DONE
    assert (trained.outcome, trained.served()) == ("promoted", 3)
