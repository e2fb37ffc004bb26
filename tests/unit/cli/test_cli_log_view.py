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
    view("train_trigger", {"level": "INFO", "event": "run_launched", "message": "launched", "reason": "20 annotated"})

    assert screen.getvalue() == "train_trigger: launched (reason 20 annotated)\n"


def test_another_version_is_told_with_the_title_of_its_project(screen: io.StringIO) -> None:
    view = LogView(Console(file=screen, width=200), {"1.2": "My \x1btrees"}.__getitem__)
    swapped = {"level": "INFO", "event": "model_swapped", "message": "swapped", "project": "1.2", "control": "label"}
    view("predict", swapped | {"after": "base-yolo11n"})
    view("predict", swapped | {"before": "base-yolo11n", "after": "v1"})

    assert screen.getvalue().splitlines() == [
        "predict: My trees: 'label' is predicted by the base weights yolo11n now",
        "predict: My trees: 'label' is predicted by v1 now (before: base-yolo11n)",
    ]


def test_ordinary_lines_stay_in_the_file_and_markup_is_text(view: LogView, screen: io.StringIO) -> None:
    view("predict", {"level": "INFO", "event": "model_loaded", "message": "a model is loaded"})
    view("train_trigger", {"level": "WARNING", "event": "refused", "message": "[red]no[/] such queue"})

    assert screen.getvalue() == "train_trigger: [red]no[/] such queue\n"
