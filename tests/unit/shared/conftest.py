"""The jobs of one project, on a clock that a test moves."""

import pytest

from shared.objectstore import ObjectStore
from shared.state.jobs import Jobs
from tests.fakes.stores import Clocked
from tests.samples.claims import START, UID


@pytest.fixture
def clock(file_store: ObjectStore) -> Clocked:
    return Clocked(file_store, START)


@pytest.fixture
def jobs(clock: Clocked) -> Jobs:
    return Jobs(clock, UID)
