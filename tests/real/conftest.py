"""Options of the tests that need the real world."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--screenshot FILE` also makes the README's picture, `--screenshots FOLDER` those of docs/controls.md.

    `--cold-start SECONDS`: how long the scale-to-zero test lets predict take to start.
    """
    parser.addoption(
        "--screenshot", type=Path, help="train as long as the demo does and keep the picture of Label Studio here"
    )
    parser.addoption(
        "--screenshots", type=Path, help="keep a picture of Label Studio with each control's predictions here"
    )
    parser.addoption(
        "--cold-start", type=float, default=3.0, help="seconds until a sleeping machine starts predict's process"
    )
