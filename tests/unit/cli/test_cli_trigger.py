"""What `labelloop train` and `labelloop prelabel` say of train_trigger's answers."""

import pytest

from infra.cli.trigger import run_sentence


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            {"job": "1.5/run-1", "status": "launched", "reason": "a person asked for it"},
            "run run-1 launched: a person asked for it",
        ),
        ({"job": "1.5/run-1", "status": "active", "reason": "run run-1 is active"}, "run run-1 is active already"),
    ],
)
def test_the_sentence_about_a_run(body: dict[str, str], sentence: str) -> None:
    assert run_sentence(body) == sentence
