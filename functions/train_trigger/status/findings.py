"""Findings: what a check found or a command changed, in a sentence for people and a word for scripts."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "changed", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `labelloop connect` or `labelloop doctor`, or of the page."""

    level: Level
    check: str  # what was looked at: "label_studio", "store", "webhook" …
    message: str  # what was found
    remedy: str = ""  # what to set or do; empty where nothing is to be done
