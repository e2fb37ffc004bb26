"""Bodies of `/predict`, read as a stream: in any pieces the result is that of a JSON parser, in bounded memory."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import BadRequest, BodyTooLarge
from shared.labelstudio.json_reader import only_members
from shared.labelstudio.predict_body import PredictBody
from shared.labelstudio.requests import Event, PredictRequest

REQUESTS = Path(__file__).parents[2] / "contract" / "requests"
WORDS = st.sampled_from(
    ["id", "data", "is_labeled", "drafts", "tasks", "predictions", "annotations", 'a"]}', "\\", "ü🌲", "[{", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
TASKS = st.dictionaries(WORDS, VALUES, max_size=5) | VALUES


def cut(text: bytes, size: int) -> Iterator[bytes]:
    for first in range(0, len(text), size):
        yield text[first : first + size]


@settings(max_examples=40)
@given(
    tasks=st.lists(TASKS, max_size=5),
    more=st.dictionaries(WORDS.filter(lambda word: word != "tasks"), VALUES, max_size=4),
    size=st.integers(1, 40),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
@example(tasks=[{}], more={"a": '"tasks":[]'}, size=3, ascii_only=True, indent=None)
def test_of_each_task_is_kept_what_is_read_and_of_the_first_its_drafts(
    tasks: list[Any], more: dict[str, Any], size: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(more | {"tasks": tasks}, ensure_ascii=ascii_only, indent=indent).encode()
    wanted = [
        {key: value for key, value in task.items() if key in ("id", "data", "is_labeled", *["drafts"][number:])}
        if isinstance(task, dict)
        else task
        for number, task in enumerate(tasks)
    ]
    body = PredictBody(cut(text, size))
    assert [json.loads(body.task(index)) for index in range(len(body))] == wanted
    assert json.loads(body.rest) == more | {"tasks": []}
    assert json.loads(body.whole()) == more | {"tasks": wanted}


@given(text=st.binary(max_size=30) | st.text('{}[]",:\\tasks01 ', max_size=30).map(str.encode), size=st.integers(1, 9))
@example(text=b'{"tasks":[{"id":1}', size=1)
@example(text=b'{"tasks":[{"id" 1}]}', size=4)
@example(text=b'{"tasks":[1,]}', size=4)
@example(text=b'{"tasks":[{}]} x', size=4)
@example(text=b'{"tasks":[],"tasks":[{"id":1}]}', size=40)
@example(text=b'{"t\\u0061sks":[{"i\\u0064":1}]}', size=5)
@example(text=b'{"a\\', size=1)
def test_what_is_no_request_is_refused_and_never_a_crash(text: bytes, size: int) -> None:
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError):
        expected = None
    try:
        body = PredictBody(cut(text, size))
    except BadRequest:
        assert expected is None
        return
    if isinstance(expected, dict) and isinstance(expected.get("tasks"), list):
        assert len(body) == len(expected["tasks"])


def peak(text: bytes) -> tuple[int, PredictRequest]:
    tracemalloc.start()
    try:
        call = PredictRequest.receive(cut(text, 1 << 16))
        return tracemalloc.get_traced_memory()[1], call
    finally:
        tracemalloc.stop()


def test_empty_tasks_need_little_more_than_their_text() -> None:
    most, call = peak(b'{"project":"1.1","label_config":"<View/>","tasks":[' + b",".join([b"{}"] * 3000) + b"]}")
    assert (len(call.tasks), call.tasks[2999].data) == (3000, {})
    assert most < 3000 * 60


def test_predictions_that_come_along_are_not_kept() -> None:
    masks = [{"result": [{"value": {"rle": [number % 256 for number in range(200_000)]}}]}] * 2
    task = json.dumps({"predictions": masks, "id": 7, "data": {"image": "a"}, "annotations": masks})
    text = f'{{"project":"1.1","label_config":"<View/>","tasks":[{",".join([task] * 5)}]}}'.encode()
    most, call = peak(text)
    assert [(one.id, one.data) for one in call.tasks] == [(7, {"image": "a"})] * 5
    assert len(text) > 10_000_000
    assert most < 2_000_000


def test_a_real_request_says_which_tasks_are_annotated() -> None:
    recorded: dict[str, Any] = json.loads((REQUESTS / "predict_batch.json").read_text())["body"]
    (task,) = recorded["tasks"]
    recorded["tasks"] = [task, task | {"is_labeled": True}]
    call = PredictRequest.receive(cut(json.dumps(recorded).encode(), 1 << 16))
    assert [one.is_labeled for one in call.tasks] == [False, True], "else the control group is one for ever"


def test_more_than_may_be_kept_is_refused_with_what_to_do() -> None:
    image = "x" * 3000
    for text in (
        json.dumps({"tasks": [{"data": {"image": image}}]}),
        json.dumps({"tasks": [{"id": image}]}),
        json.dumps({"tasks": [0] * 3000}),
        json.dumps({"label_config": image}),
        json.dumps([image]),
    ):
        with pytest.raises(BodyTooLarge, match="select fewer tasks at a time"):
            PredictBody(cut(text.encode(), 100), max_bytes=2000)
    assert len(PredictBody([json.dumps({"tasks": [{"predictions": image}]}).encode()], max_bytes=2000)) == 1


@settings(max_examples=40)
@given(value=st.dictionaries(WORDS | st.sampled_from(["action", "project"]), VALUES, max_size=6) | VALUES)
def test_only_the_wanted_members_of_an_object_are_kept(value: Any) -> None:
    kept = json.loads(only_members(json.dumps(value).encode(), (b'"action"', b'"project"')))
    wanted = ("action", "project")
    assert kept == ({key: value[key] for key in value if key in wanted} if isinstance(value, dict) else value)


def test_of_an_event_nothing_but_action_and_project_is_read() -> None:
    payload = b'"annotation":{"result":[{"value":{"rle":[1e999999,01,nobody reads this]}}]}'
    event = Event.parse(b'{"action":"ANNOTATION_CREATED",%s,"project":{"id":7}}' % payload)
    assert (event.action, event.project and event.project.id) == ("ANNOTATION_CREATED", 7)
    for broken in (b'{"action":"X",' + payload, b'{"action":"X"} {}', b'{"action" "X"}', b"", b"[]"):
        with pytest.raises(BadRequest):
            Event.parse(broken)
