"""Posting a notice to a real receiver: signed, bounded, to allowed addresses only, and the address stays secret."""

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from functions.train_trigger.notices.post import poster, signature
from shared.errors import NoticeError
from shared.evolve import evolve
from shared.settings import Settings
from tests.servers.web_server import Handler, web_server

DOCS = Path(__file__).resolve().parents[2] / "docs" / "notices.md"
BODY = '{"text": "Bäume"}'.encode()
SECRET = "hush"
PATH = "/services/T0/B0/very-secret?token=s3cret"


def settings(url: str, **values: Any) -> Settings:
    allowed = values.pop("notify_private_hosts", ("127.0.0.1",))
    return evolve(Settings(), notify_url=SecretStr(url + PATH), notify_private_hosts=allowed, **values)


def verifier() -> Callable[..., bool]:
    """The one in the docs."""
    found = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    is_ours: Callable[..., bool] = names["is_ours"]
    return is_ours


def test_the_verifier_of_the_docs_knows_what_we_sent_from_what_others_did() -> None:
    headers: list[Any] = []

    def answer(handler: Handler) -> None:
        headers.append(handler.headers)
        handler.reply(200, b"ok")

    with web_server(answer) as web:
        assert poster(settings(web.url, notify_secret=SecretStr(SECRET)))("an-id", BODY) == 200
    seen, got, is_ours = web.seen[0], headers[0], verifier()
    assert (seen.method, seen.path, seen.body) == ("POST", PATH, BODY)
    assert (got["Content-Type"], got["X-Labelloop-Notice"]) == ("application/json", "an-id")
    assert is_ours(got, seen.body, SECRET)
    assert not is_ours(got, seen.body + b" ", SECRET)
    assert not is_ours(got, seen.body, "another")
    old = {"X-Labelloop-Timestamp": "1700000000", "X-Labelloop-Signature": signature(SECRET, "1700000000", BODY)}
    assert not is_ours(old, BODY, SECRET), "played again"
    assert not is_ours({}, BODY, SECRET)


def refused(given: Settings, seconds: float = 5.0, **kwargs: Any) -> str:
    """The message of the error; it must not hold what is secret."""
    with pytest.raises(NoticeError) as caught:
        poster(given, seconds=seconds, **kwargs)("an-id", BODY)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__, "no traceback may tell it either"
    assert not re.search("secret|token|services", str(error))
    return str(error)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 429, 500])
def test_other_answers_are_errors_and_redirects_are_not_followed(status: int, caplog: pytest.LogCaptureFixture) -> None:
    def answer(handler: Handler) -> None:
        handler.reply(status, b"no_team", Location=f"{web.url}/elsewhere")

    with caplog.at_level(logging.WARNING), web_server(answer) as web:
        told = refused(settings(web.url))
    assert told.startswith(f"127.0.0.1 answers {status}")
    assert len(web.seen) == 1
    assert "services" not in caplog.text


def test_a_receiver_that_hangs_is_left_after_its_seconds() -> None:
    gone = threading.Event()

    def answer(handler: Handler) -> None:
        gone.wait(30)

    with web_server(answer) as web:
        assert refused(settings(web.url), seconds=0.2) == "127.0.0.1 did not answer within 0.2 s"
        gone.set()


def test_an_answer_without_end_is_not_read() -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not web.closing.is_set():
            handler.wfile.write(b"x" * 65536)

    with web_server(answer) as web:
        assert poster(settings(web.url))("an-id", BODY) == 200


def test_private_addresses_are_refused_unless_they_are_named() -> None:
    with web_server(lambda handler: handler.reply(200)) as web:
        told = refused(settings(web.url, notify_private_hosts=()))
        assert told == (
            "127.0.0.1 is in a private or reserved network (127.0.0.1): if notices may be sent there, name it in "
            "LABELLOOP_NOTIFY_PRIVATE_HOSTS"
        )
        images = evolve(settings(web.url, notify_private_hosts=()), allowed_private_hosts=("127.0.0.1",))
        assert "private" in refused(images), "images may come from there; notices are another thing"
        other = settings(f"http://hooks.example:{web.port}", notify_private_hosts=())
        rebound = refused(other, resolve=lambda _host, port: [(2, ("127.0.0.1", port))])
        assert rebound.startswith("hooks.example is in a private")
        assert web.connections == 0
        assert poster(settings(web.url, notify_private_hosts=("127.0.0.0/8",)))("an-id", BODY) == 200


def test_nobody_listens_and_no_certificate() -> None:
    with web_server(lambda handler: handler.reply(200)) as web:
        pass
    assert refused(settings(web.url)) == "127.0.0.1 is not reachable"
    with web_server(lambda handler: handler.reply(200)) as web:
        assert "127.0.0.1" in refused(settings(f"https://127.0.0.1:{web.port}"))
