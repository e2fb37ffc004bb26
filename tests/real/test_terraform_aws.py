"""infra/terraform/aws beyond Terraform: values by the models of the AWS APIs, settings as the programs read them."""

import json
import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from infra.aws_lambda.events import SWEEP
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from tests.infra.terraform_aws import CONFIGURATION, Applied, aws_applied

NOT_OURS = {"FUNCTION_SOURCE", "FUNCTION_TARGET", "SECRET_ARNS", "AWS_DEFAULT_REGION"}


@pytest.fixture(scope="module")
def applied() -> Applied:
    return aws_applied()


def lambda_environ(function: dict[str, Any]) -> dict[str, str]:
    """What the function's process sees: its variables, and the secrets that infra/aws_lambda reads for it."""
    variables: dict[str, str] = function["environment"][0]["variables"]
    return variables | dict.fromkeys(json.loads(variables["SECRET_ARNS"]), "a secret")


def settings(environ: dict[str, str]) -> Settings:
    return Settings.from_environ({name: value for name, value in environ.items() if name not in NOT_OURS})


def test_the_light_function_starts_with_these_settings(applied: Applied) -> None:
    environ = lambda_environ(applied.one("aws_lambda_function", "light"))
    read = settings(environ)
    read.require("label_studio_url", "label_studio_api_key", "predict_url")
    read.require_access_rules()
    queue, definition = LauncherUrl.parse(read.launcher).parts
    assert queue == applied.one("aws_batch_job_queue", "train")["name"]
    assert definition == applied.one("aws_batch_job_definition", "train")["name"]
    assert environ["FUNCTION_SOURCE"] == "/app/functions/train_trigger/main.py"
    assert applied.one("aws_lambda_function", "light")["timeout"] > read.predict_deadline


def test_predict_starts_with_these_settings(applied: Applied) -> None:
    function = applied.one("aws_lambda_function", "predict")
    read = settings(lambda_environ(function))
    read.require_access_rules()
    assert read.cache_bytes < function["ephemeral_storage"][0]["size"] * 2**20


def test_the_job_starts_with_these_settings_and_ends_before_batch_ends_it(applied: Applied) -> None:
    definition = applied.one("aws_batch_job_definition", "train")
    container = json.loads(definition["container_properties"])
    environ = {one["name"]: one["value"] for one in container["environment"]}
    environ |= dict.fromkeys((one["name"] for one in container["secrets"]), "a secret")
    read = settings(environ)
    read.require("label_studio_url", "label_studio_api_key")
    assert definition["timeout"][0]["attempt_duration_seconds"] >= read.longest_run + read.claim_lifetime
    assert read.work_dir.startswith("/tmp/")  # the one folder that may be written


def test_everybody_works_on_one_store(applied: Applied) -> None:
    container = json.loads(applied.one("aws_batch_job_definition", "train")["container_properties"])
    stores = {one["value"] for one in container["environment"] if one["name"] == "LABELLOOP_STORE"}
    stores |= {lambda_environ(function)["LABELLOOP_STORE"] for function in applied.all("aws_lambda_function")}
    bucket = applied.one("aws_s3_bucket", "store")["bucket"]
    assert stores == {f"s3://{bucket}/labelloop"}


def test_the_schedule_sends_what_the_function_takes_for_a_sweep(applied: Applied) -> None:
    assert json.loads(applied.one("aws_scheduler_schedule", "sweep")["target"][0]["input"]) == SWEEP


def test_the_container_is_what_the_api_of_batch_takes(applied: Applied) -> None:
    definition = applied.one("aws_batch_job_definition", "train")
    shape: Any = (
        botocore.session.get_session().get_service_model("batch").operation_model("RegisterJobDefinition").input_shape
    )
    report = ParamValidator().validate(
        {
            "jobDefinitionName": definition["name"],
            "type": definition["type"],
            "containerProperties": json.loads(definition["container_properties"]),
        },
        shape,
    )
    assert not report.has_errors(), report.generate_report()


def test_values_are_among_those_that_aws_knows(applied: Applied) -> None:
    environments = [one["compute_resources"][0] for one in applied.all("aws_batch_compute_environment")]
    actions = applied.one("aws_batch_job_queue", "train")["job_state_time_limit_action"]
    lifecycle = applied.one("aws_s3_bucket_lifecycle_configuration", "store")
    used = {
        ("batch", "CRType"): {one["type"] for one in environments},
        ("batch", "CRAllocationStrategy"): {one["allocation_strategy"] for one in environments},
        ("batch", "PlatformCapability"): set(applied.one("aws_batch_job_definition", "train")["platform_capabilities"]),
        ("batch", "JobStateTimeLimitActionsState"): {one["state"] for one in actions},
        ("batch", "JobStateTimeLimitActionsAction"): {one["action"] for one in actions},
        ("ec2", "InstanceType"): {type_ for one in environments for type_ in one["instance_type"]},
        ("ec2", "VolumeType"): {
            applied.one("aws_launch_template", "gpu")["block_device_mappings"][0]["ebs"][0]["volume_type"]
        },
        ("ecr", "ImageTagMutability"): {one["image_tag_mutability"] for one in applied.all("aws_ecr_repository")},
        ("lambda", "Architecture"): {
            arch for one in applied.all("aws_lambda_function") for arch in one["architectures"]
        },
        ("lambda", "FunctionUrlAuthType"): {
            one["authorization_type"] for one in applied.all("aws_lambda_function_url")
        },
        ("s3", "BucketVersioningStatus"): {
            applied.one("aws_s3_bucket_versioning", "store")["versioning_configuration"][0]["status"]
        },
        ("s3", "ExpirationStatus"): {rule["status"] for rule in lifecycle["rule"]},
        ("scheduler", "FlexibleTimeWindowMode"): {
            applied.one("aws_scheduler_schedule", "sweep")["flexible_time_window"][0]["mode"]
        },
    }
    session = botocore.session.get_session()
    for (service, shape), values in used.items():
        assert values, shape
        known: Any = session.get_service_model(service).shape_for(shape)
        assert values <= set(known.enum), shape


def test_policies_name_actions_that_there_are(applied: Applied) -> None:
    session = botocore.session.get_session()
    s3 = {"ListBucket", "GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"}  # not named as its operations
    renamed = {("lambda", "InvokeFunction"): "Invoke"}
    actions = {
        action
        for one in applied.all("aws_iam_role_policy")
        for statement in json.loads(one["policy"])["Statement"]
        for action in statement["Action"]
    }
    assert len(actions) > 15
    for action in actions:
        service, _, name = action.partition(":")
        known = s3 if service == "s3" else session.get_service_model(service).operation_names
        assert renamed.get((service, name), name) in known, action


def test_no_secret_is_in_the_state(applied: Applied) -> None:
    assert {one["type"] for one in applied.resources if "secret" in one["type"]} == {"aws_secretsmanager_secret"}
    for variable in ("LABEL_STUDIO_API_KEY", "LABELLOOP_BASIC_AUTH_PASSWORD", "LABELLOOP_WEBHOOK_SECRET"):
        for function in applied.all("aws_lambda_function"):
            assert variable not in function["environment"][0]["variables"]
    names = [one["name"] for one in applied.all("aws_secretsmanager_secret")]
    page = (CONFIGURATION.parents[2] / "docs" / "deploy" / "aws.md").read_text()
    assert all(re.search(rf"\b{name.partition('/')[2]}\b", page) for name in names)  # a person is told to fill them
