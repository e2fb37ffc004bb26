"""What a price may look like, and what is said of what a job cost."""

import pytest

from shared.errors import SettingsError
from shared.price import Cost, Price
from shared.settings import Settings


@pytest.mark.parametrize(
    ("text", "an_hour", "currency", "said"),
    [
        ("0.80", 0.8, "", "0.80"),
        ("2", 2.0, "", "2.00"),
        ("0.8048 USD", 0.8048, "USD", "0.8048 USD"),
        (" 1.2EUR ", 1.2, "EUR", "1.20 EUR"),
        ("150 JPY", 150.0, "JPY", "150.00 JPY"),
        ("0.00005", 0.00005, "", "0.00005"),
    ],
)
def test_what_a_price_may_look_like(text: str, an_hour: float, currency: str, said: str) -> None:
    price = Price.parse(text)
    assert (price.an_hour, price.currency, str(price)) == (an_hour, currency, said)


@pytest.mark.parametrize(
    "text", ["0", "0.00 EUR", "-1", "1,20", "$2", "2 €", "nan", "inf", "1e3", "2 euro", "EUR 2", "٢"]
)
def test_what_is_no_price_stops_the_start_with_a_sentence(text: str) -> None:
    with pytest.raises(SettingsError, match=r"LABELLOOP_PRICE_PER_HOUR: write a number above 0.*0\.80 EUR"):
        Settings.from_environ({"LABELLOOP_PRICE_PER_HOUR": text})
    assert Price.find(text) is None


@pytest.mark.parametrize("nothing", [None, "", 0.8, ["0.80"]])
def test_a_record_without_a_price_has_none(nothing: object) -> None:
    assert Price.find(nothing) is None


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0.0, "0"), (0.0004, "<0.001"), (0.001, "0.0010"), (0.00834, "0.0083"), (0.0994, "0.099"), (0.09949, "0.099"),
        (0.0995, "0.10"), (0.1, "0.10"), (0.996, "1.00"), (12.345, "12.35"), (999.99, "999.99"), (1234.5, "1234"),
    ],
)  # fmt: skip
def test_small_amounts_keep_two_digits(amount: float, said: str) -> None:
    assert Cost(amount).number == said
    assert str(Cost(amount, "EUR")) == f"{said} EUR"


def test_settings_pass_a_price_on_as_it_is() -> None:
    settings = Settings.from_environ({"LABELLOOP_PRICE_PER_HOUR": "0.8048 USD"})
    assert Settings.from_environ(settings.to_environ()).price_per_hour == "0.8048 USD"
    assert Settings().price_per_hour is None
    assert Price.parse("0.8048 USD").cost(450).as_json() == {"amount": 0.1006, "currency": "USD"}
    assert Cost.of_json(Cost(0.5).as_json()) == Cost(0.5)
