"""docs/architecture.md lists what lies in the store: as shared/state/keys.py does, which alone makes keys."""

import re
from pathlib import Path

from shared.state import keys

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"


def listed(text: str | None) -> set[str]:
    """The keys of projects and base weights at the beginnings of lines; of files only the folder."""
    found = re.findall(r"^    ((?:projects|base)/\S+)", text or "", re.MULTILINE)
    return {key.removesuffix("<name>").removesuffix("…") for key in found}


def test_the_page_lists_every_key_of_a_project() -> None:
    assert len(listed(keys.__doc__)) > 10
    assert listed(PAGE.read_text()) == listed(keys.__doc__)
