"""infra/prometheus and infra/grafana: only metrics that there are, and rules that promtool accepts and tries out."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from functions.train_trigger.metrics import Metrics as TriggerMetrics
from shared.prediction.metrics import Metrics as PredictMetrics
from shared.settings import Settings
from shared.web.http import Function
from tests.infra.promtool import NoPromtool, promtool

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "infra" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "infra" / "grafana" / "dashboard.json"
_SELECTOR = re.compile(r"(labelloop_\w+)(?:\{([^}]*)\})?")
_GROUPED = re.compile(r"by \(([^)]*)\)")


def exported() -> dict[str, set[str]]:
    """Every series that the two functions answer at GET /metrics, with its labels."""
    series: dict[str, set[str]] = {}
    for registry in (TriggerMetrics().registry, PredictMetrics().registry):
        Function([], Settings(), registry=registry)  # as both `main.py` do
        for name, labels in _series(registry):
            series.setdefault(name, set()).update(labels)
    return series


def _series(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    for collector in registry._collector_to_names:
        names, own = registry._collector_to_names[collector], set(getattr(collector, "_labelnames", ()))
        for name in names:
            yield name, own | ({"le"} if name.endswith("_bucket") else set())


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [t["expr"] for panel in panels() for t in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_in_rules_and_dashboard_is_exported(expression: str) -> None:
    found, asked = exported(), _SELECTOR.findall(expression)
    assert asked
    labels: set[str] = set()
    for name, selector in asked:
        assert name in found, f"no function exports {name}"
        assert set(re.findall(r"(\w+)\s*(?:=|!)", selector)) <= found[name]
        labels |= found[name]
    for group in _GROUPED.findall(expression):
        assert {label.strip() for label in group.split(",")} <= labels


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for expression in expressions() for name, _ in _SELECTOR.findall(expression)}
    families = {re.sub("_(total|created|bucket|sum|count)$", "", name) for name in shown}
    for name in exported():
        assert re.sub("_(total|created|bucket|sum|count)$", "", name) in families


def test_panels_have_their_own_ids_and_places() -> None:
    found = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in found):
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_each_alert_says_what_to_do() -> None:
    for rule in rules():
        assert rule["alert"].startswith("Labelloop")
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description"} == rule["annotations"].keys()


def run(*arguments: str, folder: Path) -> str:
    try:
        program = promtool()
    except NoPromtool as error:
        pytest.skip(str(error))
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules_and_each_fires_when_it_should() -> None:
    assert f"{len(rules())} rules found" in run("check", "rules", ALERTS.name, folder=ALERTS.parent)
    assert "SUCCESS" in run("test", "rules", "alerts_test.yaml", folder=ALERTS.parent)
    tested = (ALERTS.parent / "alerts_test.yaml").read_text()
    assert all(f'alertname="{rule["alert"]}"' in tested for rule in rules())


def test_promtool_understands_the_dashboard_s_expressions(tmp_path: Path) -> None:
    asked = [t["expr"].replace("$__rate_interval", "5m") for panel in panels() for t in panel["targets"]]
    named = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": named}]}))
    assert f"{len(asked)} rules found" in run("check", "rules", "panels.yaml", folder=tmp_path)
