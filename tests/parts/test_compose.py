"""The compose files: their schema, and that they say what the programs understand."""

import os
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.settings import Settings
from tests.infra.compose_services import names, read_compose, read_env
from tests.infra.dockerfiles import stages
from tests.infra.kubernetes_manifests import CACHE, Missing, npm, tool

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "infra" / "compose"
DCLINT = "3.1.0"
SECRETS = {
    "LABEL_STUDIO_USERNAME": "annotator@example.com",
    "LABEL_STUDIO_PASSWORD": "p",
    "LABEL_STUDIO_API_KEY": "0" * 40,
    "LABELLOOP_BASIC_AUTH_PASSWORD": "b",
    "LABELLOOP_WEBHOOK_SECRET": "w",
    "AWS_ACCESS_KEY_ID": "i",
    "AWS_SECRET_ACCESS_KEY": "s",
}
OURS = ("predict", "train-trigger", "sweeper", "labelloop")


def compose(*files: str) -> dict[str, Any]:
    return read_compose(*(FOLDER / file for file in files or ("compose.yaml",)), variables=SECRETS)


def test_the_schema_and_dclint_find_nothing() -> None:
    try:
        folder = CACHE / f"dclint-{DCLINT}"
        if not folder.exists():
            partial = folder.with_suffix(".part")
            npm("install", "--prefix", str(partial), "--ignore-scripts", "--no-audit", "--no-fund", f"dclint@{DCLINT}")
            partial.replace(folder)
        program = [tool("node"), str(folder / "node_modules" / "dclint" / "bin" / "dclint.cjs")]
    except Missing as missing:
        pytest.skip(str(missing))
    found = subprocess.run(
        [*program, "-c", FOLDER / ".dclintrc.yaml", "--max-warnings", "0", FOLDER], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("service", OURS)
def test_the_programs_understand_their_variables(service: str) -> None:
    """Wrong values, missing ones and open doors are SettingsErrors, which name the variable."""
    settings = Settings.from_environ(compose()["services"][service]["environment"])
    settings.require("label_studio_url", "label_studio_api_key", "predict_url", "train_trigger_url")
    settings.require_access_rules()
    assert settings.store.startswith("s3://")


@pytest.mark.parametrize("service", OURS)
def test_no_setting_of_settings_env_is_emptied(service: str) -> None:
    """An empty variable takes precedence over settings.env, too, where notices' address and key are written."""
    found = compose()["services"][service]
    assert found["env_file"] == [{"path": "settings.env", "required": False}]
    assert [name for name, value in found["environment"].items() if value in ("", None)] == []


def test_every_secret_is_required_and_made(tmp_path: Path) -> None:
    script = tmp_path / "make-env.sh"
    script.write_bytes((FOLDER / "make-env.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", script], check=True, capture_output=True)
    made = read_env(tmp_path / ".env")
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert made.keys() == SECRETS.keys()
    assert len(made["LABEL_STUDIO_API_KEY"]) == 40  # Label Studio's legacy tokens
    assert len(set(made.values())) == len(made)
    for name in SECRETS:
        with pytest.raises(KeyError, match=r"make-env\.sh"):
            read_compose(FOLDER / "compose.yaml", variables={**SECRETS, name: ""})


def test_made_secrets_are_kept(tmp_path: Path) -> None:
    script = tmp_path / "make-env.sh"
    script.write_bytes((FOLDER / "make-env.sh").read_bytes())
    (tmp_path / ".env").write_text("LABEL_STUDIO_PASSWORD=mine\n")
    subprocess.run(["sh", script], check=True, capture_output=True)
    assert (tmp_path / ".env").read_text() == "LABEL_STUDIO_PASSWORD=mine\n"


def test_label_studio_takes_the_token_and_calls_private_addresses() -> None:
    environment = compose()["services"]["label-studio"]["environment"]
    assert environment["LABEL_STUDIO_USER_TOKEN"] == SECRETS["LABEL_STUDIO_API_KEY"]
    assert environment["LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN"] == "true"
    assert (environment["ML_BLOCK_LOCAL_IP"], environment["SSRF_PROTECTION_ENABLED"]) == ("false", "false")


@pytest.mark.parametrize("service", OURS)
def test_addresses_name_services_and_those_of_functions_have_a_dot(service: str) -> None:
    services = compose()["services"]
    known = {name for other in services for name in names(other, services[other])}
    settings = Settings.from_environ(services[service]["environment"])
    for url in (settings.label_studio_url, settings.s3_endpoint, settings.predict_url, settings.train_trigger_url):
        assert urlsplit(url).hostname in known
    for url in (settings.predict_url, settings.train_trigger_url):
        assert "." in str(urlsplit(url).hostname)


def test_only_label_studio_is_published() -> None:
    services = compose()["services"]
    assert [name for name in services if "ports" in services[name]] == ["label-studio"]


def test_label_studio_does_not_reach_the_store() -> None:
    services = compose()["services"]
    reach = {name for name in services if "store" in services[name]["networks"]}
    assert reach == {"seaweedfs", "predict", "train-trigger", "labelloop"}
    assert compose()["networks"]["store"]["internal"] is True


@pytest.mark.parametrize("service", OURS)
def test_our_services_run_as_the_image_allows(service: str) -> None:
    found = compose()["services"][service]
    places = [volume.partition(":")[2] for volume in found.get("volumes", [])] + found.get("tmpfs", [])
    assert found["read_only"] is True
    assert places == ["/tmp"]
    assert found["build"]["target"] in stages(REPOSITORY / "infra" / "docker" / "Dockerfile")
    assert (FOLDER / found["build"]["context"] / found["build"]["dockerfile"]).resolve().exists()


def test_the_override_takes_the_gpus_away_and_nothing_else() -> None:
    with_gpu, without = compose(), compose("compose.yaml", "compose.cpu.yaml")
    for name in ("predict", "train-trigger"):
        assert with_gpu["services"][name].pop("deploy")["resources"]["reservations"]["devices"]
    assert without == with_gpu


def test_shell_scripts_can_be_started() -> None:
    assert os.access(FOLDER / "make-env.sh", os.X_OK)
