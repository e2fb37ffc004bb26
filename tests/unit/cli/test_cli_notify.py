"""`labelloop notify`: what waits, and what is missing for a test."""

import io

import pytest
from pydantic import SecretStr
from rich.console import Console

from infra.cli.notify import render_waiting, send_test, waiting, waiting_as_json
from shared.errors import SettingsError
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.notices import Notice
from shared.state.projects import write_project


def shown(store: ObjectStore, settings: Settings) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_waiting(waiting(store)[0], settings))
    return console.export_text()


def test_it_shows_what_waits_and_where_nothing_is_sent(file_store: ObjectStore) -> None:
    assert "LABELLOOP_NOTIFY_URL is not set here" in shown(file_store, Settings())
    assert shown(file_store, evolve(Settings(), notify_url=SecretStr("https://h/x"))).strip() == "No notice waits."
    write_project(file_store, "1.1", label_config="<View/>")
    notice = Notice(id="a", event="failed", at=file_store.now(), message="[red]why[/red]", tries=2)
    Jobs(file_store, "1.1").update(lambda record, _now: evolve(record, notices=(notice,)))
    assert "  failed  2      [red]why[/red]" in shown(file_store, Settings())
    assert waiting_as_json(waiting(file_store)[0])[0]["id"] == "a"


def test_a_test_needs_an_address() -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_NOTIFY_URL is not set"):
        send_test(Settings())


def test_the_address_is_a_secret_of_the_settings() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"LABELLOOP_NOTIFY_URL": "hooks.slack.com/services/s3cret"})
    assert "s3cret" not in str(caught.value)
    assert "LABELLOOP_NOTIFY_URL: must be an address" in str(caught.value)
    settings = Settings.from_environ({"LABELLOOP_NOTIFY_URL": "https://hooks.slack.com/services/s3cret/?a=1"})
    assert "s3cret" not in repr(settings)
    assert settings.to_environ()["LABELLOOP_NOTIFY_URL"].endswith("/s3cret/?a=1")
