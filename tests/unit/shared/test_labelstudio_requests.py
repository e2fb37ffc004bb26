"""Bodies that Label Studio would not send, and tasks that it accepts although JSON parsers refuse them."""

import json
import re
from typing import Any

import pytest

from shared.errors import BadRequest
from shared.labelstudio.deep_json import parse_deep_json
from shared.labelstudio.requests import Event, PredictRequest


def body(*tasks: str) -> bytes:
    return f'{{"tasks": [{", ".join(tasks)}], "project": "1.2", "label_config": "<View/>"}}'.encode()


@pytest.mark.parametrize("levels", [100, 300, 1000, 100_000])
def test_a_task_that_is_nested_deeply_does_not_stop_the_others(levels: int) -> None:
    deep = "[" * levels + r'"a \" ] }"' + "]" * levels
    first = f'{{"id": 1, "data": {{"image": "a", "x": {deep}, "y": "b"}}, "annotations": [{{"result": {deep}}}]}}'
    call = PredictRequest.parse(body(first, '{"id": 2, "data": {"image": "c"}}'))
    assert [(task.id, task.data["image"]) for task in call.tasks] == [(1, "a"), (2, "c")]
    assert call.tasks[0].data["y"] == "b"
    event = Event.parse(b'{"action": "TASKS_CREATED", "tasks": ' + deep.encode() + b"}")
    assert event.action == "TASKS_CREATED"


@pytest.mark.parametrize(
    ("task", "read"),
    [
        (r'{"id": 1, "data": {"image": "\ud800"}}', (1, {"image": "\ud800"})),
        ('{"id": "one", "data": {"image": "a"}}', (None, {"image": "a"})),
        ('{"id": 1, "data": ["a"]}', (1, {})),
        ('{"id": 1, "data": null}', (1, {})),
        ("0", (None, {})),
        ("null", (None, {})),
    ],
)
def test_what_is_wrong_in_a_task_leaves_it_without_data(task: str, read: Any) -> None:
    call = PredictRequest.parse(body(task, '{"id": 2, "data": {}}'))
    assert [(one.id, one.data) for one in call.tasks] == [read, (2, {})]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"tasks": 3, "project": "1.2", "label_config": "<View/>"}', "tasks: Input should be a valid list"),
        (b'{"tasks": []}', "project: Field required; label_config: Field required"),
        (b'{"tasks": [', "body: Invalid JSON"),
        (b'{"tasks": "' + bytes([255]) + b'"}', "body: Invalid JSON"),
        (b"[" * 5000, "body: Invalid JSON"),
        (b"]" * 5000, "body: Invalid JSON"),
        (b"", "body: Invalid JSON"),
    ],
)
def test_what_is_no_request_is_refused_by_name(text: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(words)):
        PredictRequest.parse(text)


@pytest.mark.parametrize("levels", [0, 1, 199, 200, 201, 500])
def test_what_lies_too_deep_is_null(levels: int) -> None:
    found = parse_deep_json(b'{"a": ' * levels + b"[1]" + b"}" * levels)
    for _ in range(min(levels, 200)):
        found = found["a"]
    assert found == ([1] if levels < 200 else None)


@pytest.mark.parametrize("end", [b"", b"\\"])
def test_a_string_without_end_takes_no_quadratic_time(end: bytes) -> None:
    """Quotes that are escaped begin no string of their own."""
    with pytest.raises(ValueError, match="Unterminated string"):
        parse_deep_json(b'{"a": "' + b'\\"' * 50_000 + end)


def test_interactive() -> None:
    whole: dict[str, Any] = json.loads(body())
    for params in ({}, {"params": None}, {"params": {"context": None}}, {"params": "x"}):
        assert not PredictRequest.parse(json.dumps(whole | params).encode()).interactive
    assert PredictRequest.parse(json.dumps(whole | {"params": {"context": {"result": []}}}).encode()).interactive
