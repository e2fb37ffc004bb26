"""What `labelloop up` shows of its programs' logs."""

import io

import pytest
from rich.console import Console

from infra.cli.log_view import LogView


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def view(screen: io.StringIO) -> LogView:
    return LogView(Console(file=screen, width=200))


def test_a_problem_is_shown_once_however_often_it_is_said(view: LogView, screen: io.StringIO) -> None:
    for _ in range(3):
        view("predict", {"level": "ERROR", "event": "not_prepared", "message": "no model can be prepared"})

    assert screen.getvalue() == "predict: no model can be prepared\n"


def test_what_the_loop_does_is_shown_with_its_fields(view: LogView, screen: io.StringIO) -> None:
    view("predict", {"level": "INFO", "event": "model_swapped", "message": "swapped", "before": "v1", "after": "v2"})

    assert screen.getvalue() == "predict: swapped (before v1, after v2)\n"


def test_ordinary_lines_stay_in_the_file_and_markup_is_text(view: LogView, screen: io.StringIO) -> None:
    view("predict", {"level": "INFO", "event": "model_loaded", "message": "a model is loaded"})
    view("train_trigger", {"level": "WARNING", "event": "refused", "message": "[red]no[/] such queue"})

    assert screen.getvalue() == "train_trigger: [red]no[/] such queue\n"
