"""docs/cases.md names the test of each case: all of them are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"(test_\w+\.py)|::(?:Test\w+::)?…?(test_\w+)")


def test_every_test_that_the_page_names_is_there() -> None:
    """A test without a file is in the one that was named last."""
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    last, named = "", []
    for file, test in NAMED.findall((ROOT / "docs" / "cases.md").read_text()):
        last = file or last
        if test:
            named.append((last, test))
    assert len(named) > 300
    assert [(file, test) for file, test in named if f"def {test}" not in files.get(file, "")] == []
