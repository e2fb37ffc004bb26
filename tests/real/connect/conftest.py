"""Both functions, as labelloop up --dummy runs them, and a new project in a real Label Studio."""

import os
from collections.abc import Iterator

import pytest

from infra.local.emulation import emulation
from infra.local.label_studio import LabelStudioServer
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from tests.servers.connected_projects import make_project, quiet


@pytest.fixture(scope="session")
def settings(server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Those of both functions, which run for the whole session."""
    folder = tmp_path_factory.mktemp("functions")
    given = Settings.from_environ(
        {
            "HOST": "127.0.0.1",
            "LABEL_STUDIO_URL": server.url,
            "LABEL_STUDIO_API_KEY": server.token,
            "LABELLOOP_STORE": (folder / "store").as_uri(),
            "LABELLOOP_WORK_DIR": str(folder / "work"),
            "LABELLOOP_CACHE_DIR": str(folder / "cache"),
            "LABELLOOP_DUMMY": "true",
        }
    )
    with emulation(given, folder / "logs", environ=os.environ, say=quiet) as running:
        yield running.settings


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    """The functions' store."""
    return open_store(settings.store)


@pytest.fixture
def client(server: LabelStudioServer) -> LabelStudio:
    """With the legacy token."""
    return LabelStudio(server.url, server.token, timeout=30)


@pytest.fixture
def project(client: LabelStudio) -> int:
    """A new project."""
    return make_project(client)
