"""Goals of the benchmarks, beside what was measured in the same run."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple


class Row(NamedTuple):
    """One measure. What is compared with the goal is `result`, often a ratio to a yardstick."""

    measure: str
    value: str  # what was measured, with its unit
    yardstick: str  # what it is compared with, with its unit; "" for an absolute goal
    result: float
    sign: Literal["≥", "≤"]
    goal: float
    unit: str  # of result and goal; "×" for ratios

    @property
    def reached(self) -> bool:
        """Whether the goal was reached."""
        return self.result >= self.goal if self.sign == "≥" else self.result <= self.goal


def show(rows: Iterable[Row]) -> None:
    """Print a table in Markdown."""
    print("| measure | value | yardstick | result | goal | reached |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        result, goal = f"{row.result:.3g} {row.unit}", f"{row.sign} {row.goal:g} {row.unit}"
        print(
            f"| {row.measure} | {row.value} | {row.yardstick} | {result} | {goal} | {'yes' if row.reached else 'no'} |"
        )


def show_sections(report: Mapping[str, Mapping[str, float]]) -> None:
    """Print the figures of each section by their names."""
    for section, figures in report.items():
        print(section)
        for name, value in figures.items():
            print(f"  {name:<40} {value:8.2f}")


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The same for a file."""
    return [row._asdict() | {"reached": row.reached} for row in rows]
