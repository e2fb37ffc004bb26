"""What `labelloop connect` remembers of a project, and what `labelloop disconnect` puts back."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import Project, check_project
from infra.cli.connect import connect
from infra.cli.connected import remember
from infra.cli.disconnect import disconnect
from infra.cli.wiring import TITLE
from shared.errors import ClaimLost, LabelStudioError, StoreError
from shared.evolve import evolve
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.jobs_record import PRELABEL, JobsRecord, Prelabelled
from shared.state.projects import read_project
from tests.fakes.label_studio_project import UID as SEVEN
from tests.fakes.label_studio_project import OneProject
from tests.fakes.stores import Refuses
from tests.fakes.trigger_parts import CONFIG, CREATED, UID


class Studio:
    """A Label Studio with one project, without backend and webhook."""

    url = "http://studio"

    def __init__(self, model_version: str) -> None:
        self.shown = model_version
        self.refuses: set[str] = set()  # versions of which it holds no prediction

    def check_identity(self) -> None:
        """It is one."""

    def authorization(self) -> str:
        return "Token 0"

    def get_json(self, path: str, params: Any = None) -> Any:
        if path in ("/api/ml/", "/api/webhooks/"):
            return []
        created, about = CREATED.isoformat(), {"title": "Trees", "label_config": CONFIG}
        return {"id": 1, "created_at": created, "model_version": self.shown, **about}

    def request_json(self, method: str, path: str, body: dict[str, Any]) -> None:
        if body["model_version"] in self.refuses:
            raise LabelStudioError("there is no such model version", status=400)
        self.shown = body["model_version"]

    def project(self) -> Project:
        found = check_project(cast(LabelStudio, self), UID)[1]
        assert found is not None
        return found


def take_back(studio: Studio, store: ObjectStore) -> list[Finding]:
    return disconnect(cast(LabelStudio, studio), UID, store=store, tell=lambda _: None)


@pytest.mark.parametrize("before", ["somebody-else", ""])
def test_disconnect_shows_annotators_what_they_saw_before(file_store: ObjectStore, before: str) -> None:
    studio = Studio(before)
    remember(file_store, Settings(), studio.project(), "inbound")
    for shown in (TITLE, "label:v1"):  # by `connect`, and by a job
        studio.shown = shown
        assert not any(remember(file_store, Settings(), studio.project(), "inbound")), "connected already"
    assert [found.check for found in take_back(studio, file_store)] == ["push", "predictions", "connection"]
    assert studio.shown == before
    assert take_back(studio, file_store) == []


def test_predictions_that_were_hidden_are_hidden_again(file_store: ObjectStore) -> None:
    studio = OneProject()
    studio.project_answer["show_collab_predictions"] = False
    settings = Settings.model_validate({"LABELLOOP_STORE": file_store.url})
    for _ in range(2):
        connect(studio, settings, 7, store=file_store, inbound=False)
    assert studio.project_answer["show_collab_predictions"] is True
    ahead = Jobs(file_store, SEVEN, prelabelling=True)
    claim = ahead.update(claims.take, "ahead-1", kind=PRELABEL, model_version="label:v1", lifetime=600).held
    found = disconnect(studio, 7, store=file_store, tell=lambda _: None)
    assert "predictions are hidden from annotators, as before" in [one.message for one in found]
    assert studio.project_answer["show_collab_predictions"] is False
    with pytest.raises(ClaimLost, match="was stopped by `labelloop disconnect`"):
        ahead.update(claims.renew, claim, lifetime=60, longest_run=60)
    assert disconnect(studio, 7, store=file_store, tell=lambda _: None) == []
    connect(studio, settings, 7, store=file_store, inbound=False)
    assert ahead.read().last_run is None, "what was stopped goes on"


def test_what_label_studio_holds_no_predictions_of_any_more_is_not_put_back(file_store: ObjectStore) -> None:
    studio = Studio("somebody-else")
    remember(file_store, Settings(), studio.project(), "inbound")
    studio.shown, studio.refuses = "label:v1", {"somebody-else"}
    assert "no predictions" in take_back(studio, file_store)[-2].message
    assert studio.shown == ""


def test_once_connected_again_the_version_that_is_there_is_shown(file_store: ObjectStore) -> None:
    """All tasks have its predictions, and yet a job has to look at them: it sets the project's model_version."""
    studio, jobs = Studio(""), Jobs(file_store, UID)
    done = Prelabelled(model_version="label:v1", through=9, written_at=datetime.now(UTC))
    jobs.update(lambda record, _now: evolve(record, prelabelled=done))

    def through() -> int:
        found: JobsRecord = jobs.read()
        assert found.prelabelled is not None
        return found.prelabelled.through

    assert (remember(file_store, Settings(), studio.project(), "inbound"), through()) == ((True, True), 0)
    jobs.update(lambda record, _now: evolve(record, prelabelled=done))
    assert (remember(file_store, Settings(), studio.project(), "inbound"), through()) == ((False, False), 9)
    remember(file_store, evolve(Settings(), push="off"), studio.project(), "inbound")
    project = read_project(file_store, UID)
    assert project is not None
    assert (project.push, through()) == (False, 9)
    remember(file_store, Settings(), studio.project(), "inbound")
    assert through() == 0


def test_a_connect_that_ended_in_the_middle_is_made_good_by_the_next_one(file_store: ObjectStore) -> None:
    studio, jobs = Studio(""), Jobs(file_store, UID)
    done = Prelabelled(model_version="label:v1", through=9, written_at=datetime.now(UTC))
    jobs.update(lambda record, _now: evolve(record, prelabelled=done))
    with pytest.raises(StoreError):
        remember(Refuses(file_store, "jobs.json", times=1), Settings(), studio.project(), "inbound")
    remember(file_store, Settings(), studio.project(), "inbound")
    prelabelled = jobs.read().prelabelled
    assert prelabelled is not None
    assert prelabelled.through == 0
