"""docs/configuration.md says what shared/settings.py does, and `labelloop settings` hides secrets."""

import json
from pathlib import Path

from typer.testing import CliRunner

from infra.cli import configuration
from infra.cli.environment import Invocation
from infra.cli.main import app
from shared.settings import Settings, variable

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == configuration.markdown(), "run: labelloop settings --markdown > docs/configuration.md"


def test_the_page_names_every_variable_once() -> None:
    rows = [line.split("`")[1] for line in configuration.markdown().splitlines() if line.startswith("| `")]

    assert sorted(rows) == sorted(variable(name) for name in Settings.model_fields)


def test_settings_shows_values_and_origins_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "labelloop.env").write_text("LABELLOOP_WEBHOOK_SECRET=very-secret\nLABELLOOP_EPOCHS=3\n")
    invocation = Invocation({"LABELLOOP_EPOCHS": "4"}, tmp_path)

    result = CliRunner().invoke(app, ["settings", "--json"], obj=invocation)

    rows = {row["variable"]: row for row in json.loads(result.output)["settings"]}
    assert (rows["LABELLOOP_EPOCHS"]["value"], rows["LABELLOOP_EPOCHS"]["from"]) == ("4", "environment")
    assert rows["LABELLOOP_WEBHOOK_SECRET"]["from"] == "labelloop.env"
    assert rows["LABELLOOP_SEED"]["from"] == "default"
    assert "very-secret" not in result.output
    assert "very-secret" not in CliRunner().invoke(app, ["settings"], obj=invocation).output
