"""What the tests of reconciling share."""

from pathlib import Path

import pytest

from tests.fakes.trigger_parts import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A project that has enough annotations for its first training."""
    world = World(tmp_path / "store")
    world.label_studio.annotations = 20
    return world
