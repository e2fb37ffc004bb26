"""Fetching: where the token goes, which addresses are asked, and which certificates are believed."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.labelstudio.api import LabelStudio
from shared.media.fetch import ImageFetcher
from shared.settings import Settings
from tests.servers.photos import PHOTO, TOKEN, fetch, fetcher, refusal, serve_photo
from tests.servers.web_server import Handler, WebServer, web_server


def redirect_to(*targets: Callable[[], str]) -> Callable[[Handler], None]:
    return lambda handler: handler.reply(302, Location=targets[0]())


class TestToken:
    @pytest.mark.parametrize("prefix", ["", "/label-studio"])
    @pytest.mark.parametrize("written_prefix", ["", "/label-studio"])
    @pytest.mark.parametrize(
        "path",
        ["/data/upload/3/a%20b.png", "/data/local-files/?d=in/a.png", "/storage-data/uploaded/?filepath=up/1/a.png"],
    )
    def test_goes_to_label_studio_with_any_path_prefix(
        self, photos: WebServer, prefix: str, written_prefix: str, path: str
    ) -> None:
        label_studio = LabelStudio(photos.url + prefix, TOKEN)
        assert fetch(fetcher(label_studio), written_prefix + path) == PHOTO
        assert [(seen.path, seen.authorization) for seen in photos.seen] == [(prefix + path, f"Token {TOKEN}")]

    def test_goes_to_the_absolute_address_of_a_file_too(self, photos: WebServer) -> None:
        label_studio = LabelStudio(photos.named("Photos.example"), TOKEN)
        assert fetch(fetcher(label_studio), photos.named("photos.EXAMPLE") + "/data/upload/3/a.png") == PHOTO
        assert photos.tokens == [f"Token {TOKEN}"]

    @pytest.mark.parametrize(
        "path",
        [
            "/api/projects/1",
            "/static/samples/sample.jpg",
            "/data/upload/%2e%2e/%2e%2e/api/projects",
            "/user/data/upload/x",
            "/data/upload",
        ],
    )
    def test_does_not_go_to_other_routes(self, photos: WebServer, path: str) -> None:
        fetch(fetcher(LabelStudio(photos.url, TOKEN)), photos.url + path)
        assert photos.tokens == [None]

    def test_does_not_go_to_another_port_or_host(self, photos: WebServer) -> None:
        with web_server(serve_photo) as label_studio:
            fetch(
                fetcher(LabelStudio(label_studio.url, TOKEN)), photos.named("photos.example") + "/data/upload/1/a.png"
            )
            assert photos.tokens == [None]
            assert label_studio.tokens == []

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_stays_behind_at_a_redirect(self, photos: WebServer, status: int) -> None:
        target = photos.named("bucket.example") + "/data/upload/1/a.png?X-Signature=s3cret"
        with web_server(lambda handler: handler.reply(status, Location=target)) as label_studio:
            assert fetch(fetcher(LabelStudio(label_studio.url, TOKEN)), "/data/upload/1/a.png") == PHOTO
            assert label_studio.tokens == [f"Token {TOKEN}"]
        assert photos.tokens == [None]

    def test_does_not_go_to_label_studio_when_a_stranger_redirects_there(self, photos: WebServer) -> None:
        with web_server(redirect_to(lambda: photos.url + "/data/upload/2/other.png")) as stranger:
            fetch(fetcher(LabelStudio(photos.url, TOKEN)), stranger.named("photos.example"))
        assert photos.tokens == [None]

    def test_storage_uris_are_resolved_by_the_task(self, photos: WebServer) -> None:
        with web_server(redirect_to(lambda: photos.named("bucket.example") + "/signed?X-Sig=s3cret")) as label_studio:
            images = fetcher(LabelStudio(label_studio.url + "/ls", TOKEN))
            for uri in ("s3://bucket/ä?&.png", "gs://bucket/a", "azure-blob://container/a"):
                assert fetch(images, uri, task_id=7) == PHOTO
                asked = urlsplit(label_studio.seen[-1].path)
                assert asked.path == "/ls/tasks/7/resolve/"
                assert base64.urlsafe_b64decode(parse_qs(asked.query)["fileuri"][0]).decode() == uri
        assert photos.tokens == [None] * 3

    def test_personal_access_token_is_exchanged_and_renewed_once(self) -> None:
        given: list[str] = []

        def label_studio(handler: Handler) -> None:
            if handler.path == "/api/token/refresh/":
                given.append(f"access{len(given)}")
                return handler.reply(200, json.dumps({"access": given[-1]}).encode())
            accepted = len(given) > 1 and handler.headers["Authorization"] == f"Bearer {given[-1]}"
            return handler.reply(200, PHOTO) if accepted else handler.reply(401)

        claims = base64.urlsafe_b64encode(b'{"token_type":"refresh"}').decode().rstrip("=")
        with web_server(label_studio) as server:
            images = fetcher(LabelStudio(server.url, f"e30.{claims}.sig"))
            assert fetch(images, "/data/upload/1/a.png") == PHOTO
            assert fetch(images, "/data/upload/1/b.png") == PHOTO
        assert given == ["access0", "access1"]

    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_token_is_not_in_the_error(self, status: int) -> None:
        with web_server(lambda handler: handler.reply(status)) as server:
            error = refusal(fetcher(LabelStudio(server.url, TOKEN)), "/data/upload/1/a.png")
        assert error.reason == "unauthorized"
        assert "LABEL_STUDIO_API_KEY" in str(error)
        assert TOKEN not in str(error)


class TestAddresses:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "[::ffff:7f00:1]"]
    )
    def test_loopback_in_any_disguise_is_refused(self, photos: WebServer, host: str) -> None:
        images = ImageFetcher(Settings(), None)  # with the system's resolver
        assert refusal(images, photos.named(host)).reason == "refused"
        assert photos.seen == []

    @pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.168.1.1"])
    def test_redirect_to_a_private_address_is_refused(self, address: str) -> None:
        with web_server(lambda handler: handler.reply(302, Location=f"http://{address}/latest/meta-data")) as server:
            images = fetcher(resolve=lambda host, port: [(2, (address if host == address else "127.0.0.1", port))])
            error = refusal(images, server.named("photos.example"))
        assert error.reason == "refused"
        assert "LABELLOOP_ALLOWED_PRIVATE_HOSTS" in str(error)

    @pytest.mark.parametrize(
        "target", ["file:///etc/passwd", "ftp://photos.example/a", "gopher://photos.example:70/", "//", "http://[::1"]
    )
    def test_redirect_to_another_scheme_is_refused(self, target: str) -> None:
        with web_server(lambda handler: handler.reply(302, Location=target)) as server:
            assert refusal(fetcher(), server.named("photos.example")).reason in ("refused", "unsupported")

    def test_a_name_that_changes_its_address_after_the_check_gains_nothing(self) -> None:
        answers = iter(["127.0.0.2", "127.0.0.1"])
        asked = []

        def rebinding(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
            asked.append(host)
            return [(2, (next(answers), port))]

        def once(handler: Handler) -> None:
            handler.reply(200, PHOTO, Connection="close")

        with web_server(once, host="127.0.0.2") as allowed, web_server(once, port=allowed.port) as forbidden:
            images = fetcher(resolve=rebinding, allowed=("127.0.0.2/32",))
            assert fetch(images, allowed.named("evil.example")) == PHOTO
            assert asked == ["evil.example"]
            assert refusal(images, allowed.named("evil.example")).reason == "refused"
            assert len(allowed.seen) == 1
            assert forbidden.seen == []

    def test_only_the_allowed_ones_of_several_addresses_are_tried(self, photos: WebServer) -> None:
        def both(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
            return [(2, ("127.0.0.1", port)), (2, ("127.0.0.3", port))]

        images = fetcher(resolve=both, allowed=("127.0.0.3",))
        assert refusal(images, photos.named("evil.example")).reason == "unreachable"  # nobody listens on .3
        assert photos.seen == []

    def test_label_studio_may_be_private_but_only_at_its_own_port(self, photos: WebServer) -> None:
        with web_server(serve_photo) as neighbour:
            images = fetcher(LabelStudio(photos.named("inside"), TOKEN))
            assert fetch(images, "/data/upload/1/a.png") == PHOTO
            assert refusal(images, neighbour.named("inside") + "/data/upload/1/a.png").reason == "refused"

    def test_the_host_is_told_its_name_not_its_address(self, photos: WebServer) -> None:
        hosts = []

        def remember(handler: Handler) -> None:
            hosts.append(handler.headers["Host"])
            handler.reply(200, PHOTO)

        with web_server(remember) as server:
            fetch(fetcher(), server.named("photos.example"))
            assert hosts == [f"photos.example:{server.port}"]

    def test_no_proxy_of_the_environment_is_used(self, photos: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
        with web_server(serve_photo) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            fetch(fetcher(LabelStudio(photos.url, TOKEN)), "/data/upload/1/a.png")
            assert proxy.seen == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with the openssl command")
class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> tuple[Path, Path]:
        certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=photos"
        names = ["-addext", "subjectAltName=DNS:photos.example", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command.split(), *names], check=True, capture_output=True)
        return certificate, key

    def test_unknown_authority_is_refused(self, certificate: tuple[Path, Path]) -> None:
        with web_server(serve_photo, certificate=certificate) as server:
            error = refusal(fetcher(), server.named("photos.example"))
            assert (error.reason, server.seen) == ("unreachable", [])
            assert "certificate" in str(error)

    def test_name_is_verified_although_the_address_is_pinned(
        self, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with web_server(serve_photo, certificate=certificate) as server:
            assert fetch(fetcher(), server.named("photos.example")) == PHOTO
            assert refusal(fetcher(), server.named("bucket.example")).reason == "unreachable"

    def test_dripping_server_is_cut_at_the_deadline(
        self, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def drip(handler: Handler) -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n")
            for _ in range(90):
                if handler.web.closing.wait(0.05):
                    break
                handler.wfile.write(b"x")

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        with web_server(drip, certificate=certificate) as server:
            assert refusal(fetcher(), server.named("photos.example"), seconds=0.6).reason == "timeout"
