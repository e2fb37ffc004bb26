"""The API client against a small HTTP server: tokens, errors, and what it asks."""

import base64
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.errors import LabelStudioError, ProjectGone, Unauthorized
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.tokens import Authorization
from tests.servers.web_server import LABEL_STUDIO_404, Handler, web_server

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PROJECT = {"id": 3, "created_at": "2026-01-02T03:04:05.600000Z", "task_number": 4, "ground_truth_number": None}


def jwt(**claims: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims)]
    return ".".join([*parts, "signature"])


def answering(status: int, body: Any, **headers: str) -> Callable[[Handler], None]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: handler.reply(status, data, **headers)


def test_project_state_is_dated_before_it_was_counted() -> None:
    """The Date is of the end of the answer; a change between counting and Date must count as later."""

    def slow(handler: Handler) -> None:
        handler.web.closing.wait(0.25)
        body = json.dumps(PROJECT).encode()
        handler.send_response_only(200)
        handler.send_header("Date", "Fri, 02 Jan 2026 03:04:10 GMT")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with web_server(slow) as server:
        state = LabelStudio(server.url + "/ls/", LEGACY).project(3)
        assert [(seen.path, seen.authorization) for seen in server.seen] == [("/ls/api/projects/3", f"Token {LEGACY}")]
    assert state.counters.task_number == 4
    assert state.counters.ground_truth_number == 0
    assert state.counters.uid == "3.1767323045"
    assert state.read_at <= datetime(2026, 1, 2, 3, 4, 9, 750_000, UTC)
    assert state.read_at.tzinfo is UTC


def test_an_answer_without_date_is_dated_by_our_clock() -> None:
    def undated(handler: Handler) -> None:
        body = json.dumps(PROJECT).encode()
        handler.send_response_only(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with web_server(undated) as server:
        before = datetime.now(UTC)
        assert before - timedelta(seconds=1) < LabelStudio(server.url, LEGACY).project(3).read_at <= datetime.now(UTC)


def test_changed_tasks_asks_the_data_manager_in_utc() -> None:
    since = datetime(2026, 3, 1, 1, 30, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    with web_server(answering(200, {"total": 17, "tasks": [{}]})) as server:
        assert LabelStudio(server.url, LEGACY).changed_tasks(3, since) == 17
        asked = parse_qs(urlsplit(server.seen[0].path).query)
    assert (asked["project"], asked["page_size"]) == (["3"], ["1"])
    assert "2026-02-28T23:30:00.000005Z" in asked["query"][0]


@pytest.mark.parametrize(
    ("url", "owned"),
    [
        ("http://studio.example:80/ls/data/upload/1/a.png", True),
        ("http://studio.example/ls/data", True),
        ("HTTP://Studio.Example/ls/a?b#c", True),
        ("http://studio.example./ls/a", True),
        ("http://studio.example/ls", False),
        ("http://studio.example/lsx/a", False),
        ("http://studio.example/data", False),
        ("http://studio.example/ls/../data", False),
        ("https://studio.example/ls/a", False),
        ("http://studio.example:8080/ls/a", False),
        ("http://studio.example.evil.example/ls/a", False),
        ("http://studio.example@evil.example/ls/a", False),
        ("http://evil.example/http://studio.example/ls/a", False),
        ("http://evil.example\\@studio.example/ls/a", False),
        ("//studio.example/ls/a", False),
        ("/ls/a", False),
        ("", False),
        ("http://[::1/ls/a", False),
    ],
)
def test_which_urls_it_owns(url: str, owned: bool) -> None:
    assert (LabelStudio("http://studio.example/ls", LEGACY).path_below(url) is not None) is owned


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, {"detail": "Invalid token."}, Unauthorized, "Invalid token.*LABEL_STUDIO_API_KEY"),
        (403, {"detail": "no"}, Unauthorized, "403"),
        (404, LABEL_STUDIO_404, ProjectGone, "No Project matches"),
        # What answers in Label Studio's place: proxies, gateways, frameworks, a path prefix that was left out.
        (404, b"<html><title>404 Not Found</title>nginx", LabelStudioError, "404.*LABEL_STUDIO_URL"),
        (404, b"404 page not found", LabelStudioError, "404.*not as Label Studio"),
        (404, b"", LabelStudioError, "404"),
        (404, {"message": "no Route matched with those values"}, LabelStudioError, "404"),
        (404, {"detail": "Not Found"}, LabelStudioError, "404"),
        (404, {"status_code": 404, "detail": "Not Found"}, LabelStudioError, "404"),
        (404, {"error": {"code": 404, "message": "backend"}}, LabelStudioError, "404"),
        (404, [404], LabelStudioError, "404"),
        (400, {"validation_errors": {"title": ["too short"]}}, LabelStudioError, "too short"),
        (500, {"detail": "boom", "exc_info": "Traceback"}, LabelStudioError, "500.*boom"),
        (200, b"<html>a login page</html>", LabelStudioError, "JSON.*LABEL_STUDIO_URL"),
        (200, {"name": "not a project"}, LabelStudioError, "does not answer a project"),
    ],
)
def test_errors_say_what_to_do(status: int, body: Any, error: type[Exception], words: str) -> None:
    with web_server(answering(status, body)) as server, pytest.raises(error, match=f"(?s){words}") as caught:
        LabelStudio(server.url, LEGACY).project(3)
    assert LEGACY not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert type(caught.value) is error


def test_an_error_that_repeats_the_token_is_redacted() -> None:
    answer = answering(400, {"detail": f"bad token {LEGACY}!"})
    with web_server(answer) as server, pytest.raises(LabelStudioError, match=r"bad token \*\*\*!"):
        LabelStudio(server.url, LEGACY).get_json("/api/version")


def test_refusal_of_a_write_keeps_label_studios_words() -> None:
    with web_server(answering(403, {"detail": "reserved network address"})) as server:
        with pytest.raises(LabelStudioError, match="reserved network address") as caught:
            LabelStudio(server.url, LEGACY).request_json("POST", "/api/ml", {"url": "http://backend"})
        assert not isinstance(caught.value, Unauthorized)
        assert json.loads(server.seen[0].body) == {"url": "http://backend"}


def test_redirects_are_not_followed() -> None:
    with web_server(answering(200, PROJECT)) as other:
        answer = answering(301, b"", Location=other.url + "/login?next=s3cret")
        with web_server(answer) as server, pytest.raises(LabelStudioError, match="LABEL_STUDIO_URL") as caught:
            LabelStudio(server.url, LEGACY).project(3)
        assert other.seen == []
        assert "s3cret" not in str(caught.value)
        assert f"redirect to {other.url}: " in str(caught.value), "with its port"


@pytest.mark.parametrize(
    ("below", "location", "place"),
    [
        ("", "/studio/api/projects/3/?next=s3cret", "{url}/studio"),
        ("", "https://studio.example/api/projects/3/", "https://studio.example"),
        ("studio", "https://studio.example/studio/api/projects/3/", "https://studio.example/studio"),
        ("old", "//user:s3cret@studio.example:8443/a/b/api/projects/3/", "http://studio.example:8443/a/b"),
        ("", "/user/login/?next=s3cret", "{url}"),
        ("", "", "{url}"),
    ],
)
def test_where_a_redirect_leads_is_said_without_its_secrets(below: str, location: str, place: str) -> None:
    with (
        web_server(answering(302, b"", Location=location)) as server,
        pytest.raises(LabelStudioError, match="redirect") as caught,
    ):
        LabelStudio(f"{server.url}/{below}", LEGACY).get_json("/api/projects/3/")
    assert f"redirect to {place.format(url=server.url)}: " in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("place", ["http://studio.example:8080:8080/", "http://[oops/", "http://a b/"])
def test_a_redirect_to_what_is_no_address_is_one_too(place: str) -> None:
    with (
        web_server(answering(301, b"", Location=place)) as server,
        pytest.raises(LabelStudioError, match=r"redirect.*LABEL_STUDIO_URL"),
    ):
        LabelStudio(server.url, LEGACY).project(3)


def test_nobody_listens_and_nobody_answers() -> None:
    def silent(handler: Handler) -> None:
        handler.web.closing.wait(5)

    with web_server(silent) as server, pytest.raises(LabelStudioError, match=r"within 0\.2 s"):
        LabelStudio(server.url, LEGACY, timeout=0.2).project(3)
    with pytest.raises(LabelStudioError, match="is it running"):
        LabelStudio(server.url, LEGACY).project(3)


def test_a_name_that_nobody_answers_for_and_an_answer_without_end_hold_nobody() -> None:
    answered = threading.Event()

    def hang(host: str, port: int) -> list[Any]:
        assert answered.wait(30)
        return []

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not handler.web.closing.wait(0.01):
            handler.wfile.write(b" ")

    with pytest.raises(LabelStudioError, match=r"within 0\.2 s"):
        LabelStudio("http://studio.example", LEGACY, timeout=0.2, resolve=hang).project(3)
    answered.set()
    with web_server(drip) as server, pytest.raises(LabelStudioError, match=r"within 0\.2 s"):
        LabelStudio(server.url, LEGACY, timeout=0.2).project(3)


def test_deleting_answers_nothing() -> None:
    with web_server(lambda handler: handler.reply(204)) as server:
        assert LabelStudio(server.url, LEGACY).request_json("DELETE", "/api/ml/1") is None


def test_a_lost_connection_is_tried_again_for_get_only() -> None:
    def dropped(handler: Handler) -> None:
        handler.close_connection = True
        if len(handler.web.seen) % 2 == 0:
            handler.reply(200, b"{}", Connection="close")

    with web_server(dropped) as server:
        client = LabelStudio(server.url, LEGACY)
        assert client.get_json("/api/version") == {}
        with pytest.raises(LabelStudioError):
            client.request_json("POST", "/api/webhooks", {})
        assert [seen.method for seen in server.seen] == ["GET", "GET", "POST"]


def test_a_connection_that_was_idle_for_a_second_is_not_written_to() -> None:
    """The server may close it in this moment, and nobody repeats a write."""
    with web_server(lambda handler: handler.reply(200, b"{}")) as server:
        client = LabelStudio(server.url, LEGACY)
        for pause in (0.0, 1.1, 0.0):
            client.request_json("POST", "/api/webhooks", {})
            time.sleep(pause)
        assert server.connections == 2


def test_netrc_and_proxies_of_the_environment_are_ignored(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with web_server(answering(200, PROJECT)) as server:
        LabelStudio(server.url, LEGACY).project(3)
        assert server.tokens == [f"Token {LEGACY}"]


class TestPersonalAccessToken:
    PAT = jwt(token_type="refresh")

    def test_is_exchanged_once_and_renewed_on_401(self) -> None:
        issued: list[str] = []

        def label_studio(handler: Handler) -> None:
            if handler.path == "/ls/api/token/refresh/":
                assert json.loads(handler.body) == {"refresh": self.PAT}
                issued.append(jwt(exp=300, iat=0, number=len(issued)))
                handler.reply(200, json.dumps({"access": issued[-1]}).encode())
            elif handler.headers["Authorization"] == f"Bearer {issued[-1]}" and handler.path != "/ls/api/revoked":
                handler.reply(200, json.dumps(PROJECT).encode())
            else:
                handler.reply(401, b'{"detail": "Given token not valid for any token type"}')

        with web_server(label_studio) as server:
            client = LabelStudio(server.url + "/ls", self.PAT)
            client.project(3)
            client.project(3)
            assert len(issued) == 1
            issued.append("what Label Studio accepts from now on")
            client.project(3)
            assert len(issued) == 3
            with pytest.raises(Unauthorized) as caught:  # one renewal, then the error
                client.get_json("/api/revoked")
            assert len(issued) == 4
        assert not any(token in str(caught.value) for token in (self.PAT, *issued))

    def test_revoked_one_is_unauthorized(self) -> None:
        with web_server(answering(401, {"detail": f"Token {self.PAT} is blacklisted"})) as server:
            with pytest.raises(Unauthorized, match=r"\*\*\* is blacklisted") as caught:
                LabelStudio(server.url, self.PAT).project(3)
            assert server.tokens == [None]  # the refresh token goes into the body, never into a header
        assert self.PAT not in str(caught.value)

    def test_many_threads_refresh_once(self) -> None:
        exchanged, everybody = [], threading.Barrier(8)

        def exchange(token: str) -> str:
            exchanged.append(token)
            return jwt(exp=300, iat=0, number=len(exchanged))

        authorization, headers = Authorization(self.PAT, exchange), []

        def work() -> None:
            everybody.wait()
            headers.append(authorization.header())

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(exchanged) == 1
        assert len(set(headers)) == 1

    def test_many_threads_that_were_refused_renew_once(self) -> None:
        exchanged: list[str] = []

        def exchange(token: str) -> str:
            exchanged.append(token)
            return jwt(exp=300, iat=0, number=len(exchanged))

        authorization = Authorization(self.PAT, exchange)
        refused = authorization.header()
        assert len({authorization.header(refused=refused) for _ in range(3)} - {refused}) == 1
        assert len(exchanged) == 2

    def test_whoever_waits_for_an_exchange_leaves_in_time_and_it_goes_on(self) -> None:
        leave, exchanged = threading.Event(), []

        def exchange(token: str) -> str:
            exchanged.append(token)
            assert leave.wait(30)
            return jwt(exp=300, iat=0)

        authorization = Authorization(self.PAT, exchange)
        for _ in range(8):
            with pytest.raises(LabelStudioError, match="in time"):
                authorization.header(until=time.monotonic() + 0.01)
        leave.set()
        assert authorization.header().startswith("Bearer ")
        assert len(exchanged) == 1

    def test_a_call_ends_in_time_though_the_token_does_not_come(self) -> None:
        def silent(handler: Handler) -> None:
            handler.web.closing.wait(5)

        with web_server(silent) as server:
            client = LabelStudio(server.url, self.PAT, timeout=0.2)
            with pytest.raises(LabelStudioError, match=r"access token in time|within"):
                client.project(3)

    @pytest.mark.parametrize(("failed_for", "exchanges"), [(60, 1), (0, 4)])
    def test_a_failure_is_remembered_for_a_while(self, failed_for: float, exchanges: int) -> None:
        exchanged = []

        def exchange(token: str) -> str:
            exchanged.append(token)
            raise LabelStudioError("gone")

        authorization = Authorization(self.PAT, exchange, failed_for=failed_for)
        for _ in range(4):
            with pytest.raises(LabelStudioError, match="gone"):
                authorization.header()
        assert len(exchanged) == exchanges

    @pytest.mark.parametrize(
        ("lifetime", "exchanges"), [(300, 1), (0.0001, 3), (None, 1)], ids=["usual", "very short", "unknown"]
    )
    def test_is_renewed_before_it_expires(self, lifetime: float | None, exchanges: int) -> None:
        exchanged = []

        def exchange(token: str) -> str:
            exchanged.append(token)
            return jwt(exp=1000 + lifetime, iat=1000) if lifetime else "opaque"

        authorization = Authorization(self.PAT, exchange)
        for _ in range(3):
            threading.Event().wait(0.001)
            authorization.header()
        assert len(exchanged) == exchanges
