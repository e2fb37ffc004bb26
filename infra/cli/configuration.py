"""`labelloop settings`: every variable with its value, and docs/configuration.md from the same table."""

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr
from rich.console import RenderableType
from rich.markup import escape

from infra.cli.output import table_of
from shared.settings import Settings, variable
from shared.state.projects import NEVER_ABOVE, NEVER_BELOW, OVERRIDABLE

_HEADINGS = {
    "label_studio_url": "Label Studio",
    "store": "Object store",
    "tracking_uri": "Experiment tracker",
    "host": "Access to the functions",
    "base_weights": "Prediction",
    "fetch_concurrency": "Images",
    "launcher": "When to train",
    "epochs": "Training",
    "log_level": "Logs",
}
"""First setting of a group → heading of the group; the order is that of shared/settings.py."""

_INTRODUCTION = """\
# Configuration

Every program of labelloop reads environment variables. A wrong or unknown `LABELLOOP_…` variable stops the start with
one sentence; an empty one counts as not set. This page is generated: `labelloop settings --markdown`.

The `labelloop` command also reads the file `labelloop.env` in the folder that it is run in; the environment wins (but
for `HOST`, which shells set for other reasons). `labelloop up` makes that file with new secrets and writes the settings
of its environment into it, so that the other commands and the next start, in the same folder, go by the same.
Only its owner can read it: do not commit it. `labelloop settings` shows what is in force.

A project may override some settings for itself: in Label Studio, write a JSON object into *Settings → Model → Edit →
Any extra params to pass during model connection*, for example `{"min_annotations": 50, "epochs": 20}`. Known there:
OVERRIDABLE.
What is set here limits them: a project gets no more than this of AT_MOST, and no less of
AT_LEAST; what it asks for beyond is said in the log. The thresholds are its own. `labelloop policy --project N`
shows what is in force for a project, and where each value comes from.

Credentials of an S3 store come from boto3's own chain: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile, or
the role of the machine.
"""


def markdown() -> str:
    """The text of docs/configuration.md."""
    introduction = _INTRODUCTION
    for word, names in (("OVERRIDABLE", OVERRIDABLE), ("AT_MOST", NEVER_ABOVE), ("AT_LEAST", NEVER_BELOW)):
        introduction = introduction.replace(word, ", ".join(f"`{name}`" for name in names))
    lines = [introduction]
    for name, field in Settings.model_fields.items():
        if name in _HEADINGS:
            lines += [
                f"## {_HEADINGS[name]}",
                "",
                "| variable | default | unit | what it does |",
                "| --- | --- | --- | --- |",
            ]
        default = _shown(field.default)
        help_ = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{variable(name)}` | {f'`{default}`' if default else ''} | {_unit(field)} | {help_} |")
        following = list(Settings.model_fields)[list(Settings.model_fields).index(name) + 1 :][:1]
        if not following or following[0] in _HEADINGS:
            lines.append("")
    return "\n".join(lines)


def listing(settings: Settings, environ: Mapping[str, str], file: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every variable with its value in force (secrets hidden), its unit, its help and where the value comes from."""
    rows = []
    for name, field in Settings.model_fields.items():
        key = variable(name)
        given = "environment" if environ.get(key) and key != "HOST" else "labelloop.env" if key in file else "default"
        rows.append(
            {
                "variable": key,
                "value": _shown(getattr(settings, name)),
                "unit": _unit(field),
                "from": given,
                "help": field.description or "",
            }
        )
    return rows


def render_listing(rows: list[dict[str, Any]]) -> RenderableType:
    """The rows of `listing`, for a terminal: a value that is too long goes on in the next line, nothing is cut."""
    table = table_of("variable", "value", "unit", "from", folded=["value"])
    for row in rows:
        table.add_row(row["variable"], escape(row["value"]), row["unit"], row["from"])
    return table


def _unit(field: Any) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return "********"
    return ",".join(value) if isinstance(value, tuple) else str(value)
