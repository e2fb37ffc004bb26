"""Video files that OpenCV writes, and files that are not videos."""

import io
import struct
import threading
import wave
from concurrent.futures import CancelledError
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ImageError
from shared.media.video import Frame, frames_at, open_video
from tests.samples.videos import with_variable_rate, write_video

PIXELS = 10**7


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 25 a second; the brightness of a frame is 8 times its index."""
    return write_video(
        tmp_path_factory.mktemp("video") / "clip.webm", (np.full((48, 64, 3), 8 * n, np.uint8) for n in range(30))
    )


def gray(frame: Frame) -> int:
    return round(float(frame.image.mean()) / 8)


def test_frames_in_order_with_their_times(clip: Path) -> None:
    with open_video(clip, max_pixels=PIXELS) as video:
        frames = list(video.frames())
        assert (video.width, video.height, video.fps) == (64, 48, 25.0)
        assert video.duration == pytest.approx(1.2)
    assert [frame.index for frame in frames] == list(range(30))
    assert [gray(frame) for frame in frames] == list(range(30))
    assert [frame.second for frame in frames] == pytest.approx([n / 25 for n in range(30)], abs=0.001)
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.dtype == np.uint8


def test_bytes_are_read_like_a_file_and_leave_none_behind(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_video(clip.read_bytes(), max_pixels=PIXELS) as video:
        assert len(list(video.frames())) == 30
    assert not list(tmp_path.iterdir())


def test_frames_that_nobody_takes_are_not_all_decoded(clip: Path) -> None:
    before = threading.active_count()
    with open_video(clip, max_pixels=PIXELS) as video:
        frames = video.frames()
        next(frames)
        frames.close()
        assert video._grabbed < 12
    assert threading.active_count() == before


def test_the_file_is_closed_after_the_last_frame_under_way(clip: Path) -> None:
    """A traceback may keep the iterator of frames alive: OpenCV must not decode a file that is closed."""
    before = threading.active_count()
    with open_video(clip, max_pixels=PIXELS) as video:
        frames = video.frames()
        next(frames)
    assert threading.active_count() == before
    with pytest.raises((RuntimeError, CancelledError)):
        list(frames)


def test_mp4_and_avi(tmp_path: Path) -> None:
    for suffix, codec in ((".mp4", "mp4v"), (".avi", "MJPG")):
        path = write_video(tmp_path / f"clip{suffix}", [np.zeros((48, 64, 3), np.uint8)] * 5, codec=codec)
        with open_video(path, max_pixels=PIXELS) as video:
            assert len(list(video.frames())) == 5


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(bytes(16000))
    return file.getvalue()


def mp4(*boxes: tuple[bytes, bytes]) -> bytes:
    return b"".join(
        struct.pack(">I", 8 + len(body)) + kind + body for kind, body in ((b"ftyp", b"isom0000isom"), *boxes)
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "broken"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "unsupported"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "unsupported"),
        (b"<html>not found</html>", "unsupported"),
        (sound(), "unsupported"),
        (mp4(), "broken"),
        (mp4((b"mdat", bytes(500)), (b"moov", bytes(100))), "broken"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "broken"),
    ],
    ids=["empty", "playlist", "list of files", "a page", "sound", "no track", "broken", "broken WebM"],
)
def test_what_is_no_video_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught, open_video(data, max_pixels=PIXELS) as video:
        list(video.frames())
    assert caught.value.reason == reason


def test_only_a_header_is_broken(clip: Path) -> None:
    with pytest.raises(ImageError) as caught, open_video(clip.read_bytes()[:320], max_pixels=PIXELS) as video:
        list(video.frames())
    assert caught.value.reason == "broken"


def test_a_file_that_is_cut_off_ends_there(clip: Path) -> None:
    data = clip.read_bytes()
    with open_video(data[: len(data) * 2 // 3], max_pixels=PIXELS) as video:
        assert 1 < len(list(video.frames())) < 30


def test_frames_of_too_many_pixels_are_refused_before_one_is_decoded(clip: Path) -> None:
    limit = 64 * 48 - 1
    with pytest.raises(ImageError, match="IMAGE_MAX_PIXELS") as caught, open_video(clip, max_pixels=limit):
        pytest.fail("it is open")
    assert caught.value.reason == "too_large"


def test_too_many_frames(clip: Path) -> None:
    seen: list[Frame] = []
    with pytest.raises(ImageError) as caught, open_video(clip, max_pixels=PIXELS, max_frames=20) as video:
        seen.extend(video.frames())
    assert caught.value.reason == "too_large"
    assert len(seen) == 20


@pytest.mark.parametrize("seconds", [[1.0, 0.01, 3.0], [3.0, 0.01, 0.01], [0.04, 0.04, 0.04]])
def test_a_variable_frame_rate_lasts_as_long_as_its_header_says(tmp_path: Path, seconds: list[float]) -> None:
    frames = [np.zeros((48, 64, 3), np.uint8)] * 3
    path = with_variable_rate(write_video(tmp_path / "clip.mp4", frames, codec="mp4v"), seconds)
    with open_video(path, max_pixels=PIXELS) as video:
        begins = [frame.second for frame in video.frames()]
        assert video.duration == pytest.approx(sum(seconds))
    assert begins == pytest.approx([0.0, seconds[0], seconds[0] + seconds[1]])


def test_what_is_cut_off_lasts_as_long_as_its_frames(clip: Path) -> None:
    data = clip.read_bytes()
    with open_video(data[: len(data) // 2], max_pixels=PIXELS) as video:
        frames = list(video.frames())
        assert len(frames) < 17
        assert video.duration == pytest.approx(len(frames) / 25)


def frame(index: int, second: float) -> Frame:
    return Frame(index, second, np.zeros((1, 1, 3), np.uint8))


def test_what_is_on_the_screen() -> None:
    video = [frame(0, 0.0), frame(1, 0.04), frame(2, 0.08), frame(3, 1.0)]
    shown = frames_at(video, [0.0, 0.01, 0.05, 0.05, 0.99, 1.0, 1.4, 7.0])
    assert [one.index for one in shown] == [0, 0, 1, 1, 2, 3, 3, 3]
    assert list(frames_at([], [0.0])) == []


@given(
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20), st.lists(st.floats(0.0, 20.0), max_size=20).map(sorted)
)
def test_on_the_screen_is_the_last_frame_that_began(gaps: list[float], moments: list[float]) -> None:
    begins = np.cumsum([0.0, *gaps])
    shown = frames_at([frame(index, second) for index, second in enumerate(begins.tolist())], moments)
    assert [one.index for one in shown] == (np.searchsorted(begins, moments, side="right") - 1).tolist()


def test_frames_are_upright(tmp_path: Path) -> None:
    """A phone's video: landscape pixels, and a matrix in the header that rotates them."""
    path = write_video(tmp_path / "clip.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3, codec="mp4v")
    data = path.read_bytes()
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    track = data.index(b"tkhd")
    matrix = data.index(upright, track)
    with open_video(data[:matrix] + turned + data[matrix + 36 :], max_pixels=PIXELS) as video:
        assert (video.width, video.height) == (48, 64)
        assert next(video.frames()).image.shape == (64, 48, 3)
    assert cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_WIDTH) == 64
