"""What tests of live models share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.objectstore import ObjectStore
from tests.fakes.predict_parts import publish


@pytest.fixture
def publish_names(file_store: ObjectStore, tmp_path: Path) -> Callable[[str], str]:
    """Publishes "weights" with these class names; answers their digest."""

    def publish_names(names: str) -> str:
        path = tmp_path / "new.pt"
        path.write_text(names)
        return publish(file_store, path).files[0].sha256

    return publish_names
