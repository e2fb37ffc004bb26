"""What a run says of the signal that ended its job."""

import signal
from collections.abc import Iterator

import pytest

from shared.job_signals import BY_PERSON, Stopped, raise_when_stopped


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, BY_PERSON)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGTERM, "the machine asked the job to stop (SIGTERM)"),
        (BY_PERSON, "stopped with `labelloop up`, goes on at the next `labelloop up`"),
    ],
)
def test_the_first_one_is_told_and_the_next_ones_do_not_interrupt_the_clean_up(number: int, why: str) -> None:
    raise_when_stopped()
    with pytest.raises(Stopped) as stopped:
        signal.raise_signal(number)
    assert str(stopped.value) == why
    for again in (signal.SIGTERM, BY_PERSON):
        signal.raise_signal(again)
