"""`labelloop policy`: what is in force for a project, and where it comes from."""

from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from functions.train_trigger.status.policy import GATE, Rule, Threshold
from functions.train_trigger.status.words import Sentence
from infra.cli.output import table_of
from infra.cli.status_view import text_of
from shared.readable import readable


def render_policy(
    title: str, rules: Sequence[Rule], presets: Sequence[str], thresholds: Sequence[Threshold], due: Sentence
) -> RenderableType:
    """The rules for a terminal, with when the next training starts."""
    parts: list[RenderableType] = [Text(readable(title), style="bold")] if title else []
    parts += [text_of(due)] if due else []
    for group, of_group in groupby(rules, lambda rule: rule.group):
        table = table_of(group, "value", "from", folded=["value"])
        for rule in of_group:
            table.add_row(rule.variable, escape(rule.value), rule.origin)
            if rule.limited:
                table.add_row("", Text(rule.limited, style="yellow"), "")
        parts += [Text(), table]
    parts += [Text(readable(preset), style="dim") for preset in presets]
    if thresholds:
        table = table_of("Shown from", "confidence", "from", "overlap", "from", folded=["Shown from"])
        for each in thresholds:
            named = readable(f"{each.control}: {each.label}")
            overlap = "" if each.iou is None else f"{each.iou:.2f}"
            table.add_row(Text(named), f"{each.confidence:.2f}", each.confidence_from, overlap, each.iou_from)
        parts += [Text(), table]
    return Group(*parts, Text(), Text(GATE, style="dim"))
