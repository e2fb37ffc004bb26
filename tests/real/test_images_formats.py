"""Every kind of image file: what Chromium and Label Studio show of it, and what the real predict function answers."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Page

from infra.demo.samples import base_weights
from shared.media.decode import decode
from tests.fakes.predict_parts import UID, label_config, predict_function
from tests.samples.image_bytes import encoded
from tests.samples.image_files import exif, works
from tests.samples.refused_files import refused
from tests.samples.served_graphs import store_base_graph
from tests.servers.browser import CHROMIUM, empty_page

WORKS, REFUSED = works(), refused()
SHOWN = [name for name, file in WORKS.items() if file.media_type]
LARGE = (6_000, 4_500)
_DRAW = """
async url => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const shown = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, btoa(String.fromCharCode(...shown))];
}
"""


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with empty_page() as page:
        yield page


@pytest.mark.parametrize("name", SHOWN)
def test_decoded_as_chromium_shows_it(name: str, page: Page) -> None:
    """Within 1 of 255: blending and four inks are rounded in another order."""
    file = WORKS[name]
    width, height, shown = page.evaluate(_DRAW, data_url(file.data, file.media_type))
    pixels = decode(file.data, 10_000_000)[:, :, ::-1].astype(int)
    assert pixels.shape == (height, width, 3)
    expected = np.frombuffer(base64.b64decode(shown), np.uint8).reshape(height, width, 4)[:, :, :3]
    wrong = np.abs(pixels - expected).max(axis=2) > 1
    if file.unended:
        wrong &= (expected != 255).any(axis=2)  # what is not shown is white, as the page
    assert not wrong.any()


def test_every_file_of_one_request_is_answered_in_its_place(tmp_path: Path) -> None:
    """A prediction with the size that was shown; `[]` for a file that is refused, with the reason in the log."""
    large = {
        "JPEG of 6,000×4,500, turned": encoded(Image.new("RGB", LARGE), "JPEG", exif=exif(6)),
        "PNG alpha of 6,000×4,500": encoded(Image.new("RGBA", LARGE, (9, 9, 9, 9)), "PNG", compress_level=1),
    }
    sizes: dict[str, tuple[int, int]] = {name: file.shows.shape[1::-1] for name, file in WORKS.items()}  # type: ignore[misc]
    sizes |= dict(zip(large, (LARGE[::-1], LARGE), strict=True))
    files = (
        large | {name: file.data for name, file in WORKS.items()} | {name: data for name, (data, *_) in REFUSED.items()}
    )
    names = sorted(files)  # those that work and those that do not take turns
    tasks = [{"id": number, "data": {"image": data_url(files[name], "image/x")}} for number, name in enumerate(names)]
    store_base_graph((tmp_path / "store").as_uri(), tmp_path / "graph")
    with predict_function(
        tmp_path,
        LABELLOOP_BASE_WEIGHTS=str(base_weights()),
        LABELLOOP_IMAGE_SIZE="64",
        LABELLOOP_CONFIDENCE="0.0001",  # so that there is a region on nearly everything, which says the size
    ) as url:
        body = {"tasks": tasks, "project": UID, "label_config": label_config(labels=("Tree",))}
        response = requests.post(f"{url}/predict", json=body, timeout=100)
        response.raise_for_status()
    results: list[dict[str, Any]] = response.json()["results"]
    assert len(results) == len(names)
    answered = {name: result for name, result in zip(names, results, strict=True) if result}
    assert set(answered) == set(sizes)
    said = {
        name: {(region["original_width"], region["original_height"]) for region in result["result"]}
        for name, result in answered.items()
        if result["result"]
    }
    assert said == {name: {sizes[name]} for name in said}
    assert set(large) <= set(said)
    assert len(said) > len(sizes) / 2
    lines = [json.loads(line) for line in (tmp_path / "predict.log").read_text().splitlines() if line.startswith("{")]
    logged = {line["reason"]: line for line in lines if line.get("event") == "not_predicted"}
    wanted: dict[str, set[int]] = {}
    for name, (_, reason, _) in REFUSED.items():
        wanted.setdefault(reason, set()).add(names.index(name))
    assert set(logged) == set(wanted)
    for reason, numbers in wanted.items():
        assert set(logged[reason]["tasks"]) <= numbers
        assert f"{len(numbers)} of {len(names)} tasks are answered empty" in logged[reason]["message"]
