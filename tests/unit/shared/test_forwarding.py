"""How long a forwarded request may take."""

import pytest
from flask import Flask

from shared.web.forwarding import seconds_left


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 90),
        ("12.5", 12.5),
        ("0", 0),
        ("-5", 0),
        ("91", 90),
        ("inf", 90),
        ("nan", 90),
        ("soon", 90),
    ],
)
def test_who_hands_a_request_on_may_say_how_long_it_waits_and_never_longer(said: str | None, seconds: float) -> None:
    headers = {} if said is None else {"X-Labelloop-Seconds": said}
    with Flask("test").test_request_context("/predict", headers=headers) as context:
        assert seconds_left(context.request, 90.0) == seconds
