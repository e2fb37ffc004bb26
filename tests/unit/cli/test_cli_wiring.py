"""What a project's wiring should be, what differs, and what Label Studio's refusals mean."""

from dataclasses import replace
from typing import Any

import pytest

from infra.cli.checks import Project
from infra.cli.wiring import (
    TITLE,
    Addresses,
    Wiring,
    backend_state,
    choose_addresses,
    differences,
    explain,
    first_backend,
    second_backend,
    wanted_backend,
    wanted_webhook,
)
from shared.labelstudio.config import parse_label_config
from shared.settings import Settings
from tests.fakes.label_studio_project import CONFIG

PROJECT = Project(7, "7.1700000000", "trees", parse_label_config(CONFIG), {})
SETTINGS = Settings.from_environ(
    {
        "PREDICT_URL": "http://127.0.0.1:9090",
        "TRAIN_TRIGGER_URL": "http://127.0.0.1:9091",
        "LABELLOOP_BASIC_AUTH_PASSWORD": "password",
        "LABELLOOP_WEBHOOK_SECRET": "secret",
    }
)


def backend(number: int, url: str, *, title: str = TITLE, state: str = "CO") -> dict[str, Any]:
    return {"id": number, "url": url, "title": title, "state": state}


def webhook(number: int, url: str, *, secret: str | None = None) -> dict[str, Any]:
    return {"id": number, "url": url, "headers": {"X-Labelloop-Secret": secret} if secret else {}}


NOTHING = Wiring((), ())
WORKING = Wiring(
    (backend(1, "http://gateway.example:9090"),), (webhook(1, "http://gateway.example:9091/webhook", secret="s"),)
)
BROKEN = Wiring((backend(1, "http://old.example:9090", state="DI"),), WORKING.webhooks)


@pytest.mark.parametrize(
    ("wiring", "backend_url", "webhook_url", "expected"),
    [
        pytest.param(
            NOTHING, None, None, ("http://127.0.0.1:9090", "http://127.0.0.1:9091/webhook"), id="the functions' own"
        ),
        pytest.param(
            NOTHING, "http://a.b:1/", None, ("http://a.b:1", "http://a.b:1/webhook"), id="events to the backend"
        ),
        pytest.param(
            NOTHING,
            "http://127.0.0.1:9091",
            None,
            ("http://127.0.0.1:9091", "http://127.0.0.1:9091/webhook"),
            id="train_trigger as backend",
        ),
        pytest.param(
            Wiring((backend(1, "http://127.0.0.1:9091"),), ()),
            None,
            None,
            ("http://127.0.0.1:9091", "http://127.0.0.1:9091/webhook"),
            id="train_trigger stays the backend",
        ),
        pytest.param(NOTHING, "http://a.b:1", "http://c.d/w", ("http://a.b:1", "http://c.d/w"), id="both given"),
        pytest.param(NOTHING, None, "http://c.d/w", ("http://127.0.0.1:9090", "http://c.d/w"), id="webhook given"),
        pytest.param(
            WORKING,
            None,
            None,
            ("http://gateway.example:9090", "http://gateway.example:9091/webhook"),
            id="what works stays",
        ),
        pytest.param(
            BROKEN, None, None, ("http://127.0.0.1:9090", "http://127.0.0.1:9091/webhook"), id="what fails is replaced"
        ),
    ],
)
def test_addresses(wiring: Wiring, backend_url: str | None, webhook_url: str | None, expected: tuple[str, str]) -> None:
    assert choose_addresses(SETTINGS, wiring, backend_url, webhook_url) == Addresses(*expected)


def test_the_backend_that_answers_while_predict_sleeps_is_recognised() -> None:
    said = {
        url: backend_state(SETTINGS, backend(1, url)).message
        for url in ("http://127.0.0.1:9091/", "http://127.0.0.1:9090")
    }
    assert ["train_trigger" in message for message in said.values()] == [True, False]


def test_without_credentials_none_are_sent() -> None:
    settings = Settings.from_environ({"HOST": "127.0.0.1"})
    addresses = Addresses("http://a.b", "http://a.b/webhook")

    assert wanted_backend(settings, addresses, PROJECT)["auth_method"] == "NONE"
    assert "basic_auth_pass" not in wanted_backend(settings, addresses, PROJECT)
    assert wanted_backend(settings, addresses, PROJECT)["is_interactive"]
    classified = replace(PROJECT, controls=parse_label_config(CONFIG.replace("RectangleLabels", "TimelineLabels")))
    assert not wanted_backend(settings, addresses, classified)["is_interactive"], "no smart tool draws anything there"
    assert wanted_webhook(settings, addresses, 1)["headers"] == {}


def test_differences_ignore_order_trailing_slash_and_the_password_that_is_never_shown() -> None:
    addresses = Addresses("http://a.b", "http://a.b/webhook")
    wanted = wanted_webhook(SETTINGS, addresses, 1)

    assert differences(wanted | {"actions": wanted["actions"][::-1]}, wanted) == []
    assert differences(wanted | {"is_active": False, "actions": []}, wanted) == ["is_active", "actions"]
    assert differences(wanted | {"headers": {"X-Labelloop-Secret": "old"}}, wanted) == ["headers"]
    shown = wanted_backend(SETTINGS, addresses, PROJECT) | {"url": "http://a.b/"}
    del shown["basic_auth_pass"]
    assert differences(shown, wanted_backend(SETTINGS, addresses, PROJECT)) == []


def test_the_automatic_webhook_and_older_ones_of_labelloop_are_superfluous_others_are_not() -> None:
    ours = webhook(1, "http://t.b/webhook", secret="s")
    automatic = webhook(2, "http://p.b/webhook")
    older = webhook(3, "http://old.b/webhook", secret="s")
    foreign = webhook(4, "http://somebody.else/webhook")
    double = webhook(5, "http://t.b/webhook")
    wiring = Wiring((), (ours, automatic, older, foreign, double))

    assert wiring.webhook("http://t.b/webhook") == ours
    assert wiring.superfluous({"http://p.b/"}, ours) == [automatic, older, double]


def test_a_webhook_at_the_right_address_is_preferred_to_one_with_our_secret() -> None:
    older, ours = webhook(1, "http://old.b/webhook", secret="s"), webhook(2, "http://t.b/webhook")

    assert Wiring((), (older, ours)).webhook("http://t.b/webhook") == ours
    assert Wiring((), (older,)).webhook("http://t.b/webhook") == older


def test_a_backend_that_is_there_twice_is_said() -> None:
    ours, double = backend(1, "http://p.b"), backend(2, "http://p.b")
    elsewhere, foreign = backend(3, "http://q.b"), backend(4, "http://p.b", title="SAM")

    assert Wiring((ours, elsewhere, foreign), ()).doubles() == []
    assert second_backend(Wiring((ours, elsewhere, foreign), ())) is None
    found = second_backend(Wiring((ours, double, elsewhere, foreign), ()))
    assert found is not None
    assert (found.level, "2 backends of labelloop at http://p.b" in found.message) == ("warning", True)
    assert Wiring((), ()).doubles() == []


def test_another_backend_in_front_is_a_problem() -> None:
    other, ours = backend(1, "http://sam.b", title="SAM"), backend(2, "http://p.b")

    found = first_backend(Wiring((other, ours), ()))

    assert found is not None
    assert found.level == "problem"
    assert "'SAM' at http://sam.b" in found.message
    assert first_backend(Wiring((ours, other), ())) is None


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("URL resolves to a reserved network address (block: 127.0.0.0/8)", "ML_BLOCK_LOCAL_IP=false"),
        ("URL resolves to a reserved network address (block: 127.0.0.0/8)", "SSRF_PROTECTION_ENABLED=false"),
        ("{'url': ['Enter a valid URL.']}", "has no dot"),
        ("Can't connect to ML backend http://x, health check failed", "--backend-url"),
        ("Able to connect to ML Server, but authentication parameters were", "LABELLOOP_BASIC_AUTH_PASSWORD"),
        ("Can't resolve hostname predict", "--backend-url"),
        ("something never heard of", ""),
    ],
)
def test_remedies(said: str, named: str) -> None:
    finding = explain("backend", f"POST /api/ml answers 400 ({said})")

    assert finding.level == "problem"
    assert named in finding.remedy
    assert said in finding.message
