"""prune and forget: what they show, what they remove, and what they leave."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.environment import Invocation
from infra.cli.keeping import forget_project
from infra.cli.main import app
from shared.errors import LabelloopError, NotKnown, StoreError
from shared.objectstore import ObjectStore
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.projects import projects, write_project
from shared.state.registry import Registry
from shared.state.runs import Progress
from tests.fakes.keeping_parts import BEGIN, UID, History, Killed, Memory
from tests.fakes.stores import Clocked

OTHER = "8.1700000000"


@pytest.fixture
def history(file_store: ObjectStore) -> History:
    """Four runs, four versions."""
    write_project(file_store, UID, label_config="<View/>")
    write_project(file_store, OTHER, label_config="<View/>")
    made = History(Clocked(file_store, BEGIN))
    for _ in range(4):
        made.run({"a": "promoted"})
    return made


@pytest.fixture
def labelloop(tmp_path: Path, file_store: ObjectStore) -> Any:
    environ = {"LABELLOOP_STORE": file_store.url, "LABELLOOP_KEEP_RUNS": "1", "LABELLOOP_KEEP_VERSIONS": "1"}
    return lambda *arguments, **how: CliRunner().invoke(app, arguments, obj=Invocation(environ, tmp_path), **how)


def test_a_dry_run_shows_and_removes_nothing(labelloop: Any, history: History, file_store: ObjectStore) -> None:
    before = list(file_store.list(""))
    shown = " ".join(labelloop("prune", "--dry-run").output.split())
    assert f"project {UID} would go objects why" in shown
    assert "v1 of 'a' 3 more than 1 good ones are newer" in shown
    assert OTHER not in shown
    assert list(file_store.list("")) == before
    told = json.loads(labelloop("prune", "--dry-run", "--json", "-p", "7").output)
    keys = {key for one in told["projects"][UID] for key in one["keys"]}
    removed = json.loads(labelloop("prune", "--json").output)
    assert removed["projects"][UID] == told["projects"][UID]
    assert set(before) - set(file_store.list("")) == keys
    assert "Nothing to remove" in labelloop("prune").output
    assert [one.version for one in Registry(file_store, UID).versions("a")] == [3, 4]


@pytest.mark.parametrize("command", ["prune", "status", "policy"])
def test_a_project_without_a_name_is_not_all_projects(
    labelloop: Any, history: History, file_store: ObjectStore, command: str
) -> None:
    before = list(file_store.list(""))
    problem = labelloop(command, "--project", "").exception  # a script's variable that is not set
    assert isinstance(problem, NotKnown)
    assert "'' is neither the id nor the uid of a project" in str(problem)
    assert list(file_store.list("")) == before


def test_a_project_is_forgotten_when_somebody_said_so(
    labelloop: Any, history: History, file_store: ObjectStore
) -> None:
    assert labelloop("forget", "-p", "7", input="n\n").exit_code == 1
    assert len(history.registry.versions("a")) == 4
    assert f"project {UID} is forgotten" in labelloop("forget", "-p", "7", input="y\n").output
    assert list(projects(file_store)) == [OTHER]
    assert [key for key in file_store.list("") if UID in key] == []
    late = Progress(phase="failed", attempt=1, updated_at=BEGIN)
    history.jobs.runs.write_progress("20260101-000000-0000abcd", late)  # by a job that lived on
    labelloop("prune")
    assert [key for key in file_store.list("") if UID in key] == []


def test_a_project_with_an_active_run_is_not_forgotten(history: History, file_store: ObjectStore) -> None:
    claim = history.begin()
    before = list(file_store.list(""))
    with pytest.raises(LabelloopError, match=f"run {claim.run_id} of project {UID} is active"):
        forget_project(history.store, UID)
    assert list(file_store.list("")) == before
    history.jobs.update(claims.interrupt, claim, "its machine is gone")
    forget_project(history.store, UID)
    assert UID not in projects(file_store)
    with pytest.raises(LabelloopError, match="has ended or was replaced"):
        history.jobs.update(claims.start, claim.run_id, nonce="a late copy", lifetime=600)


def test_a_forget_that_is_killed_anywhere_is_ended_by_the_next_one() -> None:
    made = Memory()
    write_project(made, UID, label_config="<View/>")
    for _ in range(2):
        History(made).run({"a": "promoted", "b": "promoted"})
    for kill_at in itertools.count():
        store, counted = Memory(made.objects), itertools.count()

        def kill(operation: str, counted: Any = counted, kill_at: int = kill_at) -> None:
            if operation == "write" and next(counted) == kill_at:
                raise Killed

        store.before = kill
        try:
            forget_project(store, UID)
        except Killed:
            store.before = lambda _: None
            assert UID in projects(store), "it can be named for the next try"
            assert Jobs(store, UID).read().closed or kill_at == 0
            for control in Registry(store, UID).controls():
                Registry(store, UID).serving(control)  # what a pointer names is there
            forget_project(store, UID)
        else:
            break
        assert store.objects == {}
    assert kill_at > 10


def test_what_fails_leaves_the_project_known(file_store: ObjectStore, history: History) -> None:
    class Refuses(Clocked):
        def delete(self, key: str) -> None:
            raise StoreError("not allowed")

    with pytest.raises(StoreError, match="not allowed"):
        forget_project(Refuses(file_store, BEGIN), UID)
    assert UID in projects(file_store)
