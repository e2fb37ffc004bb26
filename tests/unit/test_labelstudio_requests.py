"""Bodies that Label Studio would not send."""

import pytest

from shared.errors import BadRequest
from shared.labelstudio.requests import PredictRequest


def test_of_many_wrong_tasks_one_is_named() -> None:
    """Errors that are collected take hundreds of times the memory of the body that caused them."""
    with pytest.raises(BadRequest, match=r"tasks\.0: Input should be an object$"):
        PredictRequest.parse(b'{"tasks": [0, 0, 0], "project": "1.2", "label_config": "<View/>"}')
