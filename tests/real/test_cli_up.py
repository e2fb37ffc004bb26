"""The `labelloop` program itself: `up` in one terminal, others in a second one, Ctrl-C, one sentence for errors."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import IO

import pytest
import requests

from infra.local.processes import choose_port

COMMAND = [sys.executable, "-m", "infra.cli.main"]
LABEL_STUDIO = {"LABEL_STUDIO_URL": "http://127.0.0.1:1", "LABEL_STUDIO_API_KEY": "0" * 40}
WAIT = 60.0  # seconds


def environment(**more: str) -> dict[str, str]:
    """Ours, without any setting of labelloop."""
    return {name: value for name, value in os.environ.items() if "LABEL" not in name} | more


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=WAIT
    )


@contextmanager
def up_on(ports: Sequence[str], folder: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str], list[str]]]:
    """`labelloop up` without a model, once it serves; the rest of what it says; and what it has said."""
    arguments = ["up", "--dummy", "--predict-port", ports[0], "--train-trigger-port", ports[1]]
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment(**LABEL_STUDIO), stdout=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        overdue = threading.Timer(WAIT, up.kill)
        overdue.start()
        try:
            said = list(takewhile(lambda line: "Ctrl-C" not in line and "stops everything" not in line, up.stdout))
            assert up.poll() is None, said
            yield up, up.stdout, said
        finally:
            overdue.cancel()
            up.kill()


@pytest.mark.parametrize("ends", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]])
def test_up_serves_until_it_is_told_to_end_and_leaves_nothing_behind(tmp_path: Path, ends: list[int]) -> None:
    """Told again while it ends what it had started, it went without ending the rest (`timeout` sends two SIGTERM)."""
    ports = [str(choose_port()) for _ in range(2)]
    with up_on(ports, tmp_path) as (up, lines, _):
        for port in ports:
            assert requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
        doctor = run(tmp_path, "doctor", "--json")
        for end in ends:
            up.send_signal(end)
            time.sleep(0.05)
        rest = lines.read()
        assert up.wait(WAIT) == 0
    assert "Traceback" not in rest
    found = {finding["check"]: finding["level"] for finding in json.loads(doctor.stdout)["findings"]}
    assert found == {"label_studio": "problem"} | dict.fromkeys(("store", "predict", "train_trigger", "launcher"), "ok")
    assert doctor.returncode == 1
    for port in ports:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/health", timeout=5)


def test_up_again_after_it_was_killed(tmp_path: Path) -> None:
    """Its functions lived on without anybody who sweeps, and held the ports: "stop what listens there"."""
    ports = [str(choose_port()) for _ in range(2)]
    for end in (signal.SIGKILL, signal.SIGTERM):
        with up_on(ports, tmp_path) as (up, _, said):
            assert [requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok for port in ports] == [True] * 2
            up.send_signal(end)
            assert up.wait(WAIT) == (0 if end == signal.SIGTERM else -end)
    left = [line.split(", ")[0] for line in said if "left running" in line]
    assert left == [f"ending predict-{ports[0]}", f"ending train_trigger-{ports[1]}"]
    for port in ports:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
    assert not list(tmp_path.rglob("*.pid"))


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])

        result = run(tmp_path, "up", "--predict-port", port, **LABEL_STUDIO)

    assert result.returncode == 1
    assert result.stderr.startswith(f"labelloop: port {port} of 127.0.0.1 is taken")
    assert "--predict-port" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["connect", "--project", "1"], "labelloop: which Label Studio? Set LABEL_STUDIO_URL"),
        (["versions"], "labelloop: the store file://"),
        (["status", "--project", "x"], "labelloop: 'x' is neither the id nor the uid of a project"),
    ],
)
def test_an_error_is_one_sentence_and_not_zero(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    result = run(tmp_path, *arguments, LABELLOOP_STORE=(tmp_path / "store").as_uri())

    assert result.returncode == 1
    assert result.stderr.startswith(sentence)
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_help_needs_no_settings(tmp_path: Path) -> None:
    result = run(tmp_path, "--help")

    assert result.returncode == 0
    for command in ("up", "connect", "doctor", "status", "versions", "rollback", "train", "settings"):
        assert command in result.stdout
