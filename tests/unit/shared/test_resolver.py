"""The system's resolver hangs at times; no caller waits beyond its deadline."""

import threading
import time

import pytest

from shared.network.resolver import Place, Resolver

PLACE: Place = (2, ("192.0.2.1", 80))


class Names:
    """Answers at once, except for hosts called `hang…`: these once `answer` is set."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[Place]:
        self.asked.append(host)
        if host.startswith("hang"):
            assert self.answer.wait(30)
        if host == "nowhere":
            raise OSError("no such name")
        return [PLACE]


def soon() -> float:
    return time.monotonic() + 0.02


def test_names_that_hang_hold_nobody_and_at_most_so_many_threads() -> None:
    names = Names()
    resolver = Resolver(names, at_once=2)
    for number in range(4):
        with pytest.raises(TimeoutError, match=f"hang{number}"):
            resolver.places(f"hang{number}", 80, soon())
    assert names.asked == ["hang0", "hang1"]
    names.answer.set()
    assert resolver.places("host", 80, time.monotonic() + 30) == [PLACE]


def test_what_the_resolver_says_comes_out() -> None:
    resolver = Resolver(Names(), at_once=1)
    for _ in range(3):  # and gives the thread back
        with pytest.raises(OSError, match="no such name"):
            resolver.places("nowhere", 80, time.monotonic() + 30)


def test_a_machine_without_threads_is_no_name_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver(Names(), at_once=1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="can't start new thread"):
                resolver.places("host", 80, time.monotonic() + 30)
    assert resolver.places("host", 80, time.monotonic() + 30) == [PLACE]
