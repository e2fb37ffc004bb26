"""retrain: what it hears from the process that trains."""

import sys

import pytest

from infra.cli.retrain import last_word
from shared.errors import LabelloopError


def test_how_the_process_ends() -> None:
    said: list[str] = []
    line = "print('labelloop:' + {!r})"
    words = '{"tell": "epoch 1 of 2"}', '{"result": {"epochs": 2}}'
    command = [sys.executable, "-c", "; ".join(["print('noise')", *map(line.format, words)])]
    assert last_word(command, {}, said.append) == {"epochs": 2}
    assert said == ["epoch 1 of 2"]
    with pytest.raises(LabelloopError, match="too little memory"):
        last_word([sys.executable, "-c", line.format('{"error": "too little memory"}')], {}, said.append)
    with pytest.raises(LabelloopError, match="ended with exit code 3: oh no"):
        last_word([sys.executable, "-c", "import sys; print('oh no'); sys.exit(3)"], {}, said.append)
