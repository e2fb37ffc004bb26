"""How Label Studio numbers the frames of a video."""

from typing import Any

import numpy as np
import pytest

from shared.errors import ImageError
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.frames import frame_count, frame_rate, seconds_of


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("", 24.0),
        ("25", 25.0),
        (" 29.97 ", 29.97),
        ("0.04", 25.0),
        ("0", 24.0),
        ("-5", 24.0),
        ("nan", 24.0),
        ("1e9", 24.0),
        ("1e-9", 24.0),
        ("25 fps", 24.0),
        ("$fps", 30.0),
        ("$text", 12.5),
        ("$list", 24.0),
        ("$missing", 24.0),
        ("$long", 24.0),
        ("$meta.fps", 50.0),
        ("$rates[1]", 10.0),
        ("$rates[2]", 24.0),
        ("1$rates[1]", 110.0),
        ("$meta", 24.0),
    ],
)
def test_rate(written: str, rate: float) -> None:
    data: dict[str, Any] = {"fps": 30, "text": "12.5", "list": [25], "long": 10**400, "meta": {"fps": 50}}
    data["rates"] = [5, "10"]
    assert frame_rate(written, data) == pytest.approx(rate)


@pytest.mark.parametrize(("attribute", "found"), [('frameRate="25"', "25"), ('framerate="$fps"', "$fps"), ("", "")])
def test_the_rate_is_the_video_tags(attribute: str, found: str) -> None:
    labels = '<TimelineLabels name="t" toName="v"><Label value="a"/></TimelineLabels>'
    config = f'<View><Video name="v" value="$video" {attribute}/>{labels}</View>'
    assert parse_label_config(config)[0].frame_rate == found


@pytest.mark.parametrize(("duration", "count"), [(2.0, 48), (2.0208, 48), (2.0209, 49), (0.0, 1)])
def test_count_is_rounded_as_in_javascript(duration: float, count: int) -> None:
    assert frame_count(duration, 24.0) == count


def test_more_frames_than_anybody_films() -> None:
    with pytest.raises(ImageError, match="frameRate") as caught:
        frame_count(1e6, 1000.0)
    assert caught.value.reason == "too_large"


def test_frame_one_is_the_beginning() -> None:
    assert seconds_of([1, 2, 26], 25.0) == pytest.approx(np.array([0.002, 0.042, 1.002]))
