"""Fetching: where the token goes, which addresses are asked, and what is cut off."""

import base64
import gzip
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.errors import ImageError
from shared.labelstudio.api import LabelStudio
from shared.media.fetch import ImageFetcher
from shared.settings import Settings
from tests.servers.web_server import Handler, WebServer, web_server

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PHOTO = b"\xff\xd8 the bytes of a photograph \xff\xd9"
SOON = 20.0  # seconds: longer than any test should take


def to_loopback(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Every name is this machine, under the address that its name says: `h2.example` is 127.0.0.2."""
    number = host.split(".")[0].removeprefix("h")
    return [(2, (f"127.0.0.{number}" if number.isdigit() and "example" in host else "127.0.0.1", port))]


def fetcher(
    label_studio: LabelStudio | None = None,
    *,
    resolve: Callable[[str, int], Any] = to_loopback,
    allowed: tuple[str, ...] = ("photos.example", "bucket.example"),
    **settings: Any,
) -> ImageFetcher:
    values = {"LABELLOOP_" + name.upper(): value for name, value in settings.items()}
    return ImageFetcher(
        Settings.model_validate(values | {"LABELLOOP_ALLOWED_PRIVATE_HOSTS": allowed}), label_studio, resolve=resolve
    )


def fetch(fetcher: ImageFetcher, value: object, task_id: int | None = 7, seconds: float = SOON) -> bytes:
    try:
        return fetcher.fetch(value, task_id=task_id, deadline=time.monotonic() + seconds)
    finally:
        fetcher.close()


def refusal(fetcher: ImageFetcher, value: object, seconds: float = SOON, task_id: int | None = 7) -> ImageError:
    with pytest.raises(ImageError) as caught:
        fetch(fetcher, value, task_id, seconds)
    return caught.value


def serve_photo(handler: Handler) -> None:
    handler.reply(200, PHOTO)


@pytest.fixture
def photos() -> Iterator[WebServer]:
    with web_server(serve_photo) as server:
        yield server


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


class TestBounds:
    def test_redirects_end(self) -> None:
        with web_server(lambda handler: handler.reply(302, Location=f"{handler.path}x")) as server:
            assert refusal(fetcher(), server.named("photos.example")).reason == "refused"
            assert len(server.seen) == 6

    def test_announced_too_large_is_not_read(self) -> None:
        def announce(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000")
            handler.end_headers()
            handler.web.closing.wait(SOON)

        with web_server(announce) as server:
            assert refusal(fetcher(image_max_bytes=1000), server.named("photos.example")).reason == "too_large"

    def test_a_length_of_any_number_of_digits_is_understood(self) -> None:
        def announce(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "9" * 5000)
            handler.end_headers()
            handler.close_connection = True

        with web_server(announce) as server:
            assert refusal(fetcher(), server.named("photos.example")).reason == "too_large"

    def test_a_video_may_be_larger_and_take_longer(self) -> None:
        settings = Settings.model_validate(
            {
                "LABELLOOP_ALLOWED_PRIVATE_HOSTS": "photos.example",
                "LABELLOOP_IMAGE_MAX_BYTES": 4,
                "LABELLOOP_VIDEO_MAX_BYTES": len(PHOTO),
                "LABELLOOP_FETCH_TIMEOUT": 1e-9,
            }
        )
        videos = ImageFetcher(settings, None, limit="video_max_bytes", resolve=to_loopback)
        with web_server(lambda handler: handler.reply(200, PHOTO)) as server:
            assert fetch(videos, server.named("photos.example")) == PHOTO
        with web_server(lambda handler: handler.reply(200, PHOTO + b"x")) as server:
            refused = refusal(videos, server.named("photos.example"))
        assert refused.reason == "too_large"
        assert "LABELLOOP_VIDEO_MAX_BYTES" in str(refused)

    @pytest.mark.parametrize("chunked", [True, False])
    def test_endless_body_is_cut(self, chunked: bool) -> None:
        def endless(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
            handler.end_headers()
            piece = b"x" * 4096
            while not handler.web.closing.is_set():
                handler.wfile.write(b"1000\r\n" + piece + b"\r\n" if chunked else piece)

        with web_server(endless) as server:
            assert refusal(fetcher(image_max_bytes=100_000), server.named("photos.example")).reason == "too_large"

    def test_body_shorter_than_announced_may_be_whole_the_next_time(self) -> None:
        def cut(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(PHOTO) + 1))
            handler.end_headers()
            handler.wfile.write(PHOTO)
            handler.close_connection = True

        with web_server(cut) as server:
            assert refusal(fetcher(), server.named("photos.example")).reason == "unreachable"

    def test_compressed_body_is_unpacked(self) -> None:
        packed = gzip.compress(PHOTO)
        with web_server(lambda handler: handler.reply(200, packed, Content_Encoding="gzip")) as server:
            assert fetch(fetcher(), server.named("photos.example")) == PHOTO

    @pytest.mark.parametrize(
        ("body", "encoding", "reason"),
        [
            (gzip.compress(bytes(5_000_000)), "gzip", "too_large"),
            (gzip.compress(PHOTO)[:-6], "gzip", "unreachable"),
            (PHOTO, "gzip", "broken"),
            (PHOTO, "br", "unsupported"),
        ],
        ids=["bomb", "cut", "not gzip", "unknown"],
    )
    def test_compressed_body_that_is_bad(self, body: bytes, encoding: str, reason: str) -> None:
        with web_server(lambda handler: handler.reply(200, body, Content_Encoding=encoding)) as server:
            assert refusal(fetcher(image_max_bytes=100_000), server.named("photos.example")).reason == reason

    @pytest.mark.parametrize("what", ["headers", "chunk size", "body", "silence"])
    def test_dripping_server_is_cut_at_the_deadline(self, what: str) -> None:
        head = b"HTTP/1.1 200 OK\r\n"
        start, endless = {
            "headers": (head + b"X: ", b"x"),
            "chunk size": (head + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
            "body": (head + b"Content-Length: 90\r\n\r\n", b"x"),
            "silence": (b"", b""),
        }[what]

        def drip(handler: Handler) -> None:
            handler.wfile.write(start)
            for _ in range(100):
                if handler.web.closing.wait(0.05):
                    break
                handler.wfile.write(endless)
                handler.wfile.flush()
            handler.close_connection = True

        with web_server(drip) as server:
            assert refusal(fetcher(), server.named("photos.example"), seconds=0.4).reason == "timeout"

    def test_fetch_timeout_ends_it_before_the_deadline(self) -> None:
        with web_server(lambda handler: handler.web.closing.wait(5)) as server:
            assert refusal(fetcher(fetch_timeout=0.2), server.named("photos.example")).reason == "timeout"

    def test_a_name_that_nobody_answers_for_is_cut_at_the_deadline(self) -> None:
        answer = threading.Event()

        def hang(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
            assert answer.wait(30)
            return []

        assert refusal(fetcher(resolve=hang), "http://photos.example/a", seconds=0.1).reason == "timeout"
        answer.set()

    def test_a_token_that_does_not_come_is_cut_at_the_deadline(self) -> None:
        claims = base64.urlsafe_b64encode(b'{"token_type":"refresh"}').decode().rstrip("=")
        token = f"e30.{claims}.sig"
        with web_server(lambda handler: handler.web.closing.wait(5)) as server:
            images = fetcher(LabelStudio(server.url, token))
            assert "token in time" in str(refusal(images, "/data/upload/1/a.png", seconds=0.3))

    def test_past_deadline_asks_nobody(self, photos: WebServer) -> None:
        assert refusal(fetcher(), photos.named("photos.example"), seconds=-1).reason == "timeout"
        assert photos.seen == []


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "reason"),
        [(404, "not_found"), (410, "not_found"), (401, "forbidden"), (403, "forbidden"), (503, "unreachable")],
    )
    def test_errors_name_host_and_status_but_no_secret(self, status: int, reason: str) -> None:
        with web_server(lambda handler: handler.reply(status, b"do not repeat")) as server:
            error = refusal(fetcher(), server.named("photos.example") + "/private/path.png?X-Amz-Signature=s3cret")
        assert error.reason == reason
        assert "photos.example" in str(error)
        assert str(status) in str(error)
        assert not {"s3cret", "path.png", "do not repeat"} & set(str(error).replace("/", " ").split())

    def test_label_studio_answers_500_for_an_upload_that_is_gone(self) -> None:
        with web_server(lambda handler: handler.reply(500)) as server:
            images = fetcher(LabelStudio(server.url, TOKEN))
            assert refusal(images, "/data/upload/1/gone.png").reason == "not_found"
            assert refusal(images, "/data/local-files/?d=a.png").reason == "unreachable"

    @pytest.mark.parametrize(("status", "reason"), [(403, "unauthorized"), (401, "unauthorized"), (404, "not_found")])
    def test_a_storage_that_label_studio_points_to_refuses(self, status: int, reason: str) -> None:
        """Its credentials are over: that heals. What is not there does not."""
        with web_server(lambda handler: handler.reply(status)) as storage:

            def signs(handler: Handler) -> None:
                handler.reply(303, Location=storage.named("bucket.example") + "/a.png")

            with web_server(signs) as server:
                assert refusal(fetcher(LabelStudio(server.url, TOKEN)), "s3://bucket/a.png").reason == reason

    def test_label_studio_answers_404_for_whatever_goes_wrong_while_it_signs(self) -> None:
        with web_server(lambda handler: handler.reply(404)) as server:
            images = fetcher(LabelStudio(server.url, TOKEN))
            assert refusal(images, "s3://bucket/a.png").reason == "unreachable"
            assert refusal(images, "/data/local-files/?d=a.png").reason == "not_found"

    def test_nobody_listens(self) -> None:
        with web_server(serve_photo) as gone:
            pass
        assert refusal(fetcher(), gone.named("photos.example")).reason == "unreachable"

    @pytest.mark.parametrize("url", ["http://no-such-host.invalid/a", "http:///a", "http://[::1/a", "https://a b/"])
    def test_senseless_addresses(self, url: str) -> None:
        def nowhere(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        images = ImageFetcher(Settings(), None, resolve=nowhere)
        assert refusal(images, url).reason in ("unreachable", "refused", "unsupported")

    def test_an_address_family_that_this_machine_has_not_is_passed_over_or_named(self, photos: WebServer) -> None:
        def both(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
            return [(9999, ("127.0.0.1", port)), *to_loopback(host, port)]

        assert fetch(fetcher(resolve=both), photos.named("photos.example")) == PHOTO
        error = refusal(fetcher(resolve=lambda *where: both(*where)[:1]), photos.named("photos.example"))
        assert (error.reason, "amily" in str(error)) == ("unreachable", True)

    def test_connection_is_kept_and_replaced_when_the_server_closed_it(self) -> None:
        served = 0

        def closing_after_two(handler: Handler) -> None:
            nonlocal served
            served += 1
            handler.reply(200, PHOTO)
            handler.close_connection = served % 2 == 0  # unannounced

        with web_server(closing_after_two) as server:
            images = fetcher()
            deadline = time.monotonic() + SOON
            for _ in range(4):
                url = server.named("photos.example")
                assert images.fetch(url, task_id=None, deadline=deadline) == PHOTO
            images.close()
            assert server.connections == 2

    def test_many_threads_share_one_fetcher(self, photos: WebServer) -> None:
        images, results = fetcher(LabelStudio(photos.url, TOKEN)), []

        def work() -> None:
            for number in range(10):
                results.append(images.fetch(f"/data/upload/1/{number}", task_id=1, deadline=time.monotonic() + SOON))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        images.close()
        assert results == [PHOTO] * 80
        assert set(photos.tokens) == {f"Token {TOKEN}"}


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
