"""Every limit, threshold and preset that is in force for a project, and where each comes from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from functions.train_trigger.status.words import age
from shared.labelstudio.controls import Control
from shared.prediction.thresholds import Source, thresholds_of
from shared.settings import Settings, variable
from shared.state.projects import NEVER_ABOVE, Project, parse_overrides, with_overrides
from shared.state.versions import Manifest

_GROUPS: dict[str, tuple[str, ...]] = {
    "When to train": (
        "min_annotations",
        "changed_share",
        "cool_down",
        "longest_run",
        "attempts",
        "budget_day",
        "budget_month",
        "store_budget_day",
        "store_budget_month",
        "price_per_hour",
    ),
    "Training": (
        "epochs",
        "image_size",
        "tiles",
        "batch",
        "freeze",
        "patience",
        "fliplr",
        "flipud",
        "val_fraction",
        "seed",
    ),
    "Predictions": (
        "confidence",
        "iou",
        "max_objects",
        "push",
        "order",
        "control_group",
    ),
    "What is kept": ("keep_runs", "keep_versions"),
}
_NOT_SET = {
    "budget_day": "no limit",
    "budget_month": "no limit",
    "store_budget_day": "no limit",
    "store_budget_month": "no limit",
    "price_per_hour": "not set",
    "epochs": "chosen by the number of images",
    "batch": "chosen",
    "confidence": "chosen by each version",
    "iou": "chosen by each version",
    "patience": "never",
}
"""What an empty value, or 0 where that is none, stands for."""
GATE = (
    "A new version is served if it finds something right, saves work, and is neither less than half as good as the one "
    "that is served nor worse with a probability of more than 50%. That is no setting."
)
"""Of `jobs.train.gate`, which a light function does not import."""
_LONG = 120  # seconds, from which a time is told in larger units too
_LABELS = 40  # of a control, whose thresholds are told


@dataclass(frozen=True, slots=True)
class Rule:
    """One setting in force."""

    group: str
    name: str  # as a project's extra params know it
    variable: str
    value: str  # for people, with its unit
    raw: Any
    origin: str  # "default", "environment", "labelloop.env", "project"
    limited: str  # what the project asks for, where the operator's value is its limit; empty: it gets what it asks for
    help: str

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "name": self.name,
            "variable": self.variable,
            "value": self.raw,
            "from": self.origin,
            "limited": self.limited or None,
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which confidence one label of a control is shown, and above which overlap one of two."""

    control: str
    label: str
    confidence: float
    confidence_from: str  # "model_score_threshold in the labeling config", "LABELLOOP_CONFIDENCE", "v3", "default"
    iou: float | None  # None: there is no suppression
    iou_from: str

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "control": self.control,
            "label": self.label,
            "confidence": self.confidence,
            "confidence_from": self.confidence_from,
            "iou": self.iou,
            "iou_from": self.iou_from or None,
        }


def rules(settings: Settings, project: Project | None, given: Mapping[str, str] | None = None) -> tuple[Rule, ...]:
    """The rules of a project, or without one the operator's. `given`: variable → where it was set, if that is known."""
    asked = (parse_overrides(project.overrides) or {}) if project else {}
    own = with_overrides(settings, project)
    return tuple(_rule(group, name, settings, own, asked, given) for group, names in _GROUPS.items() for name in names)


def thresholds(
    controls: Sequence[tuple[Control, Manifest | None]], settings: Settings, project: Project | None
) -> tuple[Threshold, ...]:
    """Those of every label, at most forty of a control. `controls`: each with the version that is served."""
    own = with_overrides(settings, project)
    by_project = (parse_overrides(project.overrides) or {}) if project else {}
    found = []
    for control, manifest in controls:
        for label in control.class_names[:_LABELS]:
            each = thresholds_of(control, label, own, manifest.shown if manifest else {})
            suppresses = control.yolo_task != "classify"
            found.append(
                Threshold(
                    control.name,
                    label,
                    each.confidence,
                    _source(each.confidence_from, "confidence", manifest, by_project),
                    each.iou if suppresses else None,
                    _source(each.iou_from, "iou", manifest, by_project) if suppresses else "",
                )
            )
    return tuple(found)


def _rule(
    group: str,
    name: str,
    settings: Settings,
    own: Settings,
    asked: Mapping[str, Any],
    given: Mapping[str, str] | None,
) -> Rule:
    field, value, operators = Settings.model_fields[name], getattr(own, name), getattr(settings, name)
    extra = field.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    key = variable(name)
    origin = (
        given.get(key, "default") if given is not None else "environment" if operators != field.default else "default"
    )
    limited = ""
    if name in asked and asked[name] != value:
        bound = "at most" if name in NEVER_ABOVE else "at least"
        limited = f"the project asks for {_worded(name, asked[name], unit)}, the operator allows {bound} this"
    elif name in asked:
        origin = "project"
    return Rule(group, name, key, _worded(name, value, unit), value, origin, limited, field.description or "")


def _worded(name: str, value: Any, unit: str) -> str:
    if name in _NOT_SET and (value is None or value == 0):
        return _NOT_SET[name]
    number = f"{value:g}" if isinstance(value, float) else str(value)
    long = f" ({age(timedelta(seconds=value))})" if unit == "s" and value >= _LONG else ""
    return f"{number} {unit}".strip() + long


def _source(source: Source, name: str, manifest: Manifest | None, by_project: Mapping[str, Any]) -> str:
    if source == "settings":
        return "project" if name in by_project else variable(name)
    if source == "version" and manifest:
        return f"v{manifest.version}"
    return "labeling config" if source == "config" else "default"


def presets(controls: Sequence[tuple[Control, Manifest | None]]) -> tuple[str, ...]:
    """How the version of each control that is served was trained, where that was chosen by the number of images."""
    found = []
    for control, manifest in controls:
        lineage = manifest.lineage if manifest else {}
        images = lineage.get("images")
        numbers = lineage.get("epochs"), lineage.get("batch"), images.get("train") if isinstance(images, dict) else None
        if manifest and all(isinstance(number, int) for number in numbers):
            epochs, batch, learnt = numbers
            took = f"{epochs} epochs in steps of {batch} images, on {learnt} images"
            tiles = f"; it looks at {manifest.tiling.said}" if manifest.tiling else ""
            found.append(f"{control.name}: v{manifest.version} was trained for {took}{tiles}")
    return tuple(found)
