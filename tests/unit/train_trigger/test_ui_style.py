"""The colours of the page have the contrast of WCAG's level AA, on each surface; and its files are packed."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STYLE = ROOT / "functions" / "train_trigger" / "ui" / "static" / "style.css"
_ON_CARDS = ("text", "quiet", "accent", "good", "warning", "problem")
PAIRS = [(text, surface) for text in _ON_CARDS for surface in ("card", "page")] + [("on-accent", "accent")]
DRAWN = [("accent", "band"), ("quiet", "band")]  # marks of a picture: 3 to 1 is enough


def themes() -> dict[str, dict[str, str]]:
    """Light is what is written first, dark what its query changes."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": light | dark}


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read_and_marks_be_seen(theme: str) -> None:
    colours = themes()[theme]
    for needed, pairs in ((4.5, PAIRS), (3.0, DRAWN)):
        for text, surface in pairs:
            assert contrast(colours[text], colours[surface]) >= needed, (text, surface)


def test_every_colour_is_one_of_the_checked_ones() -> None:
    rules = STYLE.read_text().split("* { box-sizing")[1]
    assert not re.findall(r"#[0-9a-f]{3,6}\b|rgba?\(", rules)


def test_what_pages_are_made_of_is_packed_into_the_wheel() -> None:
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    ui = STYLE.parents[1]
    found = {file for pattern in packed["functions.train_trigger.ui"] for file in ui.glob(pattern)}
    report = ROOT / "jobs" / "train" / "report"
    found |= {file for pattern in packed["jobs.train.report"] for file in report.glob(pattern)}
    everything = (file for folder in (ui, report) for file in folder.rglob("*") if file.is_file())
    assert found == {file for file in everything if file.suffix not in (".py", ".pyc")}
