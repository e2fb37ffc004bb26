"""Fetching: what is cut off, and what becomes of answers that are no image."""

import base64
import gzip
import socket
import threading
import time
from typing import Any

import pytest

from shared.labelstudio.api import LabelStudio
from shared.media.fetch import ImageFetcher
from shared.settings import Settings
from tests.servers.photos import PHOTO, SOON, TOKEN, fetch, fetcher, refusal, serve_photo, to_loopback
from tests.servers.web_server import Handler, WebServer, web_server


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
