"""`labelloop versions`: lists the versions of a control."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from functions.train_trigger.status.history import read_history
from functions.train_trigger.status.metrics import tasks_of, took
from functions.train_trigger.status.outcome import SURE, Word
from infra.cli.output import WholeTable
from shared.objectstore import ObjectStore
from shared.price import Cost
from shared.state.registry import Registry
from shared.state.versions import REPORT, Gate, Tiles

_SHORT = {"failed verification": "bad file", "balanced accuracy": "accuracy"}  # a line has 80 columns
_STYLES: dict[Word, str] = {"promoted": "green", "unproven": "", "failed verification": "red"}
_UNPROVEN = (
    f"unproven: promoted, but compared with nothing, or the gate is less than {SURE:.0%} sure that it is no worse"
)


def list_versions(store: ObjectStore, uid: str, control: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The versions of one control, oldest first, as `versions --json` prints them; and why others cannot be read.

    `outcome` is what became of it, `why` a sentence about that, `seconds` how long its run's jobs had run until then,
    `cost` what that cost if a price was set.
    `gate` has the size of the val set (`tasks`, `things`), what the version was compared with (`against`), and the
    probability that the version is worse than that (`worse`).
    """
    (history,) = read_history(Registry(store, uid), [control], newest=None)
    listed = [
        version.manifest.model_dump(mode="json", exclude={"lineage", "files"})
        | {
            "pointer": version.pointer,
            "serving": version.serving,
            "rejected": version.rejected,
            "rolled_back": version.rolled_back,
            "deleted": version.deleted,
            "note": version.note,
            "outcome": version.outcome.word,
            "why": version.outcome.why,
            "tasks": version.manifest.lineage.get("tasks"),
            "seconds": version.manifest.seconds,
            "cost": version.manifest.cost.as_json() if version.manifest.cost else None,
            "size": sum(file.size for file in version.manifest.files),
            "report": not version.deleted and version.manifest.find_file(REPORT) is not None,
        }
        for version in history.versions
    ]
    return listed, list(history.unreadable)


def render_versions(control: str, versions: list[dict[str, Any]], *, why: bool = False) -> RenderableType:
    """The versions for a terminal, one line each; below them what became of the newest one, or with `why` of all."""
    table = WholeTable(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    gates = [Gate.model_validate(version["gate"]) for version in versions]
    metrics = {gate.metric for gate in gates}
    metric = next(iter(metrics)).replace(" ", "\n") if len(metrics) == 1 else "metric"
    costs = [Cost.of_json(version["cost"]) if version["cost"] else None for version in versions]
    currencies = {cost.currency for cost in costs if cost}
    cost = f"cost\n{next(iter(currencies))}".strip() if len(currencies) == 1 else "cost"
    numbers = {"tasks", "val", cost, metric, "sure"}
    for heading in ("", "outcome", "tasks", "val", "took", cost, metric, "against", "sure", "made (UTC)"):
        if heading != cost or currencies:
            table.add_column(heading, no_wrap=True, justify="right" if heading in numbers else "left")
    for version, gate, paid in zip(versions, gates, costs, strict=True):
        train, val = tasks_of(version)
        score = version["metrics"].get(gate.metric)
        table.add_row(
            f"{'→' if version['serving'] else ' '} v{version['version']}",
            Text(_short(version["outcome"]), _STYLES.get(version["outcome"], "yellow")),
            train,
            val,
            took(version["seconds"]),
            *([_cost(paid, len(currencies) == 1)] if currencies else []),
            ("" if score is None else f"{score:.3f}") + (f" {_short(gate.metric)}" if len(metrics) > 1 else ""),
            _against(gate),
            "" if gate.worse is None else f"{1 - gate.worse:.0%}",
            version["created_at"][5:16].replace("T", " "),
        )
    told = [version for version in versions if why or version is versions[-1] or version["outcome"] == "not promoted"]
    sentences = [Text(f"v{version['version']}: {_sentence(version)}") for version in told]
    sentences += [Text(f"v{version['version']}, a note: {version['note']}") for version in versions if version["note"]]
    newest = versions[-1] if versions else None
    if newest and newest.get("tiling"):
        sentences.append(Text(f"v{newest['version']} looks at {Tiles.model_validate(newest['tiling']).said}.", "dim"))
    if any(version["outcome"] == "unproven" for version in versions):
        sentences.append(Text(_UNPROVEN, "dim"))
    if with_report := [version["version"] for version in versions if version["report"]]:
        sentences.append(Text(f"labelloop report {with_report[-1]} shows why, with pictures.", "dim"))
    return Group(Text(f"versions of {control!r}", "italic"), table, *sentences)


def _short(word: str) -> str:
    return _SHORT.get(word, word)


def _cost(cost: Cost | None, one_currency: bool) -> str:
    """The amount; below it its currency, where that is not in the heading."""
    return "" if cost is None else cost.number if one_currency else f"{cost.number}\n{cost.currency}"


def _against(gate: Gate) -> str:
    """What it was compared with, and the score of that; the name of base weights is long."""
    if gate.against is None or gate.champion is None:
        return ""
    return f"{'base' if gate.champion_version is None else gate.against} {gate.champion:.3f}"


def _sentence(version: dict[str, Any]) -> str:
    if version["outcome"] == "not promoted":
        return f"not promoted: {version['why']}; `labelloop rollback --to {version['version']}` serves it"
    return f"{version['outcome']}: {version['why']}"
