"""The world of most tests of a run."""

from pathlib import Path

import pytest

from shared.objectstore import ObjectStore
from tests.fakes.train_world import TWO_CONTROLS, World, with_birds


@pytest.fixture
def world(file_store: ObjectStore, tmp_path: Path) -> World:
    return World(file_store, tmp_path)


@pytest.fixture
def two(world: World) -> World:
    """A project whose tasks have a region of each of two controls."""
    world.studio.config = TWO_CONTROLS
    with_birds(world)
    return world
