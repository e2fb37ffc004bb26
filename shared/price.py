"""What jobs cost: the price of an hour of the machine that one runs on, times the time that it runs."""

import re
from dataclasses import dataclass
from typing import Any, Self

_FORM = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)(?: ?([A-Z]{3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money: an estimate, nobody sends a bill for it."""

    amount: float
    currency: str = ""  # three letters; "": nobody said which

    @property
    def number(self) -> str:
        """The amount for people, small ones with two digits that say something: `12.30`, `0.0083`."""
        if self.amount >= 1000:
            return f"{self.amount:.0f}"
        if self.amount >= 0.0995:
            return f"{self.amount:.2f}"
        return f"{self.amount:#.2g}" if self.amount >= 0.001 else "<0.001" if self.amount else "0"

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"amount": round(self.amount, 6), "currency": self.currency or None}

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Self:
        """As `as_json` wrote it."""
        return cls(found["amount"], found["currency"] or "")

    def __str__(self) -> str:
        """With its currency: `0.42 EUR`."""
        return f"{self.number} {self.currency}".strip()


@dataclass(frozen=True, slots=True)
class Price:
    """The price of an hour of one job."""

    an_hour: float
    currency: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0.80` or `0.80 EUR`. Raises ValueError; its message says what to write."""
        found = _FORM.fullmatch(text.strip())
        if not found or not float(found[1]):
            raise ValueError("write a number above 0, and the letters of its currency if you like: 0.80, or 0.80 EUR")
        return cls(float(found[1]), found[2] or "")

    @classmethod
    def find(cls, text: object) -> Self | None:
        """The price in a record; None if there is none, or none that is understood."""
        try:
            return cls.parse(text) if isinstance(text, str) else None
        except ValueError:
            return None

    def cost(self, seconds: float) -> Cost:
        """What so much time of one job costs."""
        return Cost(self.an_hour * seconds / 3600, self.currency)

    def __str__(self) -> str:
        """As people write it: `0.80 EUR`."""
        number = f"{self.an_hour:.2f}"
        return (
            f"{number if float(number) == self.an_hour else f'{self.an_hour:.9f}'.rstrip('0')} {self.currency}".strip()
        )
