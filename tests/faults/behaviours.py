"""Ways in which a server or the network before it misbehaves, one exchange at a time."""

import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from tests.faults.proxy import Answer, Behaviour, Exchange, Request, Source, well_behaved

_BLOCK = b"\0" * (1 << 20)
_HUGE = 10**11  # bytes


def hang(exchange: Exchange) -> None:
    """The request is taken, no answer comes."""
    exchange.wait()
    exchange.hang_up()


def slow(seconds: float) -> Behaviour:
    """Every answer comes so much later."""

    def behave(exchange: Exchange) -> None:
        exchange.wait(seconds)
        well_behaved(exchange)

    return behave


def status(code: int) -> Behaviour:
    """Nothing is passed on; the answer is this status."""
    return lambda exchange: exchange.reply(Answer(code, (("Content-Type", "text/plain"),), b"out of order"))


def cut(exchange: Exchange) -> None:
    """Half of the answer, then the connection breaks."""
    answer = exchange.pass_on()
    exchange.reply(answer, cut_after=len(answer.body) // 2)


def lose_answers(rng: random.Random) -> Behaviour:
    """Of two writes one is done, and its answer lost."""

    def behave(exchange: Exchange) -> None:
        answer = exchange.pass_on()
        if exchange.request.method in ("PUT", "POST", "DELETE") and rng.random() < 0.5:
            exchange.hang_up()
        else:
            exchange.reply(answer)

    return behave


def clock(seconds: float) -> Behaviour:
    """The server's clock, as its Date header says it, is so much ahead."""

    def behave(exchange: Exchange) -> None:
        answer = exchange.pass_on()
        said = next((value for name, value in answer.headers if name.lower() == "date"), None)
        now = parsedate_to_datetime(said) if said else datetime.now(UTC)
        date = format_datetime((now + timedelta(seconds=seconds)).astimezone(UTC), usegmt=True)
        exchange.reply(Answer(answer.status, (*answer.without("date"), ("Date", date)), answer.body))

    return behave


def lose_events(exchange: Exchange) -> None:
    """The sender hears that all is well; nobody else hears of it."""
    exchange.reply(Answer(202))


def double(exchange: Exchange) -> None:
    """Every request arrives twice."""
    exchange.pass_on()
    well_behaved(exchange)


class Late:
    """Requests arrive in another order, when `deliver` is called."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._kept: list[Exchange] = []

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self._kept.append(exchange)
        exchange.reply(Answer(202))

    def deliver(self) -> None:
        """Pass on what was kept."""
        with self._lock:
            kept, self._kept = self._kept, []
        self._rng.shuffle(kept)
        for exchange in kept:
            exchange.pass_on()


def huge(exchange: Exchange) -> None:
    """An answer that says to be as large as a disk."""
    exchange.begin(Answer(200, (("Content-Type", "image/jpeg"),)), _HUGE)
    exchange.send(_BLOCK)
    exchange.hang_up()


def endless(exchange: Exchange) -> None:
    """An answer without a length that does not end."""
    exchange.begin(Answer(200, (("Content-Type", "image/jpeg"),)), None)
    while not exchange.wait(0.005):
        exchange.send(_BLOCK)
    exchange.hang_up()


def broken(rng: random.Random) -> Behaviour:
    """The answer's bytes are no picture: damaged, or something else."""

    def behave(exchange: Exchange) -> None:
        answer = exchange.pass_on()
        body = answer.body[: len(answer.body) // 2] if rng.random() < 0.5 else rng.randbytes(2000)
        exchange.reply(Answer(answer.status, answer.headers, body))

    return behave


def pictures(files: Sequence[bytes]) -> Source:
    """A source of JPEG files: `/N.jpg` is the N-th, again from the first behind the last."""

    def answer(request: Request) -> Answer:
        number = request.path.removeprefix("/").removesuffix(".jpg")
        if not number.isdecimal():
            return Answer(404)
        return Answer(200, (("Content-Type", "image/jpeg"),), files[int(number) % len(files)])

    return answer
