"""infra/terraform/google: what its plan would give to each program, and to the world."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.launcher_url import LauncherUrl
from shared.settings import Settings, variable
from tests.infra.terraform_provider import Terraform, provider_stub

FOLDER = Path(__file__).parents[2] / "infra" / "terraform" / "google"
SECRETS = {variable(name) for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
OPTIONAL = {one for one in SECRETS if "_NOTIFY_" in one or "MLFLOW" in one}  # those who want these set them
RIGHTS = {  # of each service account, on what
    "predict": {
        "storage.objectViewer",
        "storage.objectCreator",
        "storage.objectUser",
        "secretmanager.secretAccessor",
    },
    "train_trigger": {"storage.objectUser", "secretmanager.secretAccessor", "launcher"},
    "train": {"storage.objectUser", "secretmanager.secretAccessor"},
    "sweep": {"run.invoker"},
}

Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with provider_stub() as environ:
        terraform = Terraform.in_copy(FOLDER, tmp_path_factory.mktemp("google") / "module", environ)
        more = ("-var=train_trigger_max_instances=9", '-var=settings={"LABELLOOP_PRELABEL_WORKERS":"3"}')
        yield terraform.plan("-var-file=terraform.tfvars.example", *more)


@pytest.fixture(scope="module")
def resources(plan: dict[str, Any]) -> Resources:
    return {one["address"]: one["values"] for one in plan["planned_values"]["root_module"]["resources"]}


@pytest.fixture(scope="module")
def containers(resources: Resources) -> dict[str, dict[str, Any]]:
    """The container of each program, by its image and service."""
    services = {
        address.removeprefix("google_cloud_run_v2_service."): values["template"][0]["containers"][0]
        for address, values in resources.items()
        if address.startswith("google_cloud_run_v2_service.")
    }
    return services | {
        "train": resources["google_cloud_run_v2_job.train"]["template"][0]["template"][0]["containers"][0]
    }


def environ_of(container: dict[str, Any]) -> dict[str, str]:
    """Its environment as Cloud Run would make it, with values made up for secrets."""
    return {one["name"]: "made-up" if one["value_source"] else one["value"] for one in container["env"]}


def test_as_many_tasks_run_at_once_as_there_may_be_workers(resources: Resources) -> None:
    """Without a parallelism, which may not exceed the tasks of any execution: trainings have one."""
    assert resources["google_cloud_run_v2_job.train"]["template"][0]["parallelism"] is None


def test_every_program_gets_settings_that_it_can_start_with(containers: dict[str, dict[str, Any]]) -> None:
    settings = {name: Settings.from_environ(environ_of(container)) for name, container in containers.items()}
    assert set(settings) == {"predict", "train", 'light["backend"]', 'light["sweep"]'}
    for name, values in settings.items():
        assert values.store == "gs://labelloop-123456789012/labelloop"
        values.require("label_studio_url", "label_studio_api_key")
        if name != "train":
            values.require_access_rules()
    backend = settings['light["backend"]']
    backend.require("predict_url", "basic_auth_password", "webhook_secret")
    settings["predict"].require("train_trigger_url", "basic_auth_password", "webhook_secret")
    assert LauncherUrl.parse(backend.launcher).parts == ("my-project-123", "europe-west4", "labelloop-train")
    assert LauncherUrl.parse(settings['light["sweep"]'].launcher) == LauncherUrl.parse(backend.launcher)


def test_the_sweep_is_off_guard_only_where_google_stands_guard(
    resources: Resources, containers: dict[str, dict[str, Any]]
) -> None:
    for name, container in containers.items():
        if name != "train" and environ_of(container).get("LABELLOOP_AUTH") == "off":
            assert resources[f"google_cloud_run_v2_service.{name}"]["invoker_iam_disabled"] is False
    members = [values for address, values in resources.items() if "v2_service_iam_member" in address]
    assert [member["role"] for member in members] == ["roles/run.invoker"]


def test_secrets_come_from_secret_manager_alone(plan: dict[str, Any], containers: dict[str, dict[str, Any]]) -> None:
    named = {name: SECRETS & environ_of(container).keys() for name, container in containers.items()}
    given = {
        name: {one["name"] for one in container["env"] if one["value_source"]} for name, container in containers.items()
    }
    key, every = {"LABEL_STUDIO_API_KEY"}, SECRETS - OPTIONAL
    assert named == given == {"predict": every, 'light["backend"]': every, 'light["sweep"]': key, "train": key}
    kinds = {change["type"] for change in plan["resource_changes"]}
    assert "google_secret_manager_secret_version" not in kinds  # a value would be in the state
    assert "X-Labelloop-Secret" not in json.dumps(plan)


def test_each_account_has_the_least_rights(plan: dict[str, Any]) -> None:
    found: dict[str, set[str]] = {name: set() for name in RIGHTS}
    members = {
        change["address"]: change["change"]["after"]
        for change in plan["resource_changes"]
        if change["type"].endswith("_iam_member")
    }
    references = {
        one["address"]: json.dumps(one["expressions"])
        for one in plan["configuration"]["root_module"]["resources"]
        if one["type"].endswith("_iam_member")
    }
    for address, after in members.items():
        base, _, key = address.partition("[")
        account = key.strip('"]').split(" ")[0] or next(
            name for name in RIGHTS if f'account[\\"{name}\\"]' in references[base]
        )
        role = after.get("role") or "launcher"  # the custom role's name is known after the apply
        found[account].add(role.removeprefix("roles/"))
    assert found == RIGHTS
    assert not any(
        "google_project_iam_member" in address for address in members
    )  # nothing is given for a whole project


def test_predict_writes_records_of_rejected_versions_and_configs_and_nothing_else(resources: Resources) -> None:
    conditions = {
        address: [condition["expression"] for condition in values["condition"]]
        for address, values in resources.items()
        if address.startswith("google_storage_bucket_iam_member.predict")
    }
    bucket = "google_storage_bucket_iam_member"
    assert conditions == {
        f"{bucket}.predict_reads": [],
        f"{bucket}.predict_rejects": ["resource.name.extract('/rejected/{record}') != ''"],
        f"{bucket}.predict_keeps_projects": ["resource.name.endsWith('/project.json')"],
    }
    assert resources[f"{bucket}.predict_reads"]["role"] == "roles/storage.objectViewer"


def test_the_launchers_role_is_what_the_launcher_asks_for(resources: Resources) -> None:
    asked = (Path(__file__).parents[2] / "functions" / "train_trigger" / "launchers" / "cloud_run.py").read_text()
    needed = set(re.findall(r"run\.(?:jobs|executions)\.\w+", asked))
    permissions = set(resources["google_project_iam_custom_role.launcher"]["permissions"])
    assert permissions == needed | {"run.jobs.run"}, "which runWithOverrides needs too"


def test_gpus_as_cloud_run_demands_them(resources: Resources, containers: dict[str, dict[str, Any]]) -> None:
    templates = {
        "predict": resources["google_cloud_run_v2_service.predict"]["template"][0],
        "train": resources["google_cloud_run_v2_job.train"]["template"][0]["template"][0],
    }
    for name, template in templates.items():
        limits = containers[name]["resources"][0]["limits"]
        assert template["node_selector"] == [{"accelerator": "nvidia-l4"}]
        assert limits["nvidia.com/gpu"] == "1"
        assert int(limits["cpu"]) >= 4
        assert int(limits["memory"].removesuffix("Gi")) >= 16
        assert not containers[name]["volume_mounts"]  # below /dev they are refused
    assert templates["train"]["max_retries"] == 0
    assert float(environ_of(containers["train"])["LABELLOOP_LONGEST_RUN"]) < float(templates["train"]["timeout"][:-1])


def test_label_studio_is_waited_for(resources: Resources) -> None:
    services = [values for address, values in resources.items() if address.startswith("google_cloud_run_v2_service.")]
    assert len(services) == 3, "predict, and train_trigger once for Label Studio and once for the sweep"
    for values in services:
        assert float(values["template"][0]["timeout"].removesuffix("s")) > Settings().predict_deadline
        assert values["template"][0]["max_instance_request_concurrency"] < 64  # threads of a function
