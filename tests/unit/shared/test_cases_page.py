"""docs/cases.md names the test of each case: all of them are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"(test_\w+\.py)(?:::Test\w+)?::(test_\w+)")


def test_every_test_that_the_page_names_is_there() -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = NAMED.findall((ROOT / "docs" / "cases.md").read_text())
    assert len(named) > 200
    assert [(file, test) for file, test in named if f"def {test}" not in files.get(file, "")] == []
