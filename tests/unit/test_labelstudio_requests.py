"""Bodies that Label Studio would not send."""

import pytest

from shared.errors import BadRequest
from shared.labelstudio.requests import PredictRequest


def test_of_many_wrong_tasks_one_is_named() -> None:
    """Errors that are collected take hundreds of times the memory of the body that caused them."""
    with pytest.raises(BadRequest, match=r"tasks\.0: Input should be an object$"):
        PredictRequest.parse(b'{"tasks": [0, 0, 0], "project": "1.2", "label_config": "<View/>"}')


@pytest.mark.parametrize("levels", [180, 300, 600])
def test_a_task_that_is_nested_deep_leaves_the_others_in(levels: int) -> None:
    """Label Studio accepts it, and sends it along with every task that is selected beside it."""
    deep = "[" * levels + "]" * levels
    tasks = f'[{{"id": 1, "data": {{"image": "a"}}}}, {{"id": 2, "data": {{"image": {deep}}}, "meta": {deep}}}]'
    request = PredictRequest.parse(f'{{"tasks": {tasks}, "project": "1.2", "label_config": "<View/>"}}'.encode())
    assert [task.id for task in request.tasks] == [1, 2]
    assert request.tasks[0].data == {"image": "a"}


@pytest.mark.parametrize("body", [b"[" * 100_000 + b"]" * 100_000, b"[" * 300, b"[" * 300 + b"\xff"])
def test_a_body_that_nobody_can_read_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="nested too deep"):
        PredictRequest.parse(body)
