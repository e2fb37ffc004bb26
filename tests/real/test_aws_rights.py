"""The roles of infra/terraform/aws suffice for what the programs do, and for no more: moto holds them to it.

moto compares S3's resources exactly; of other services it compares actions only.
"""

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from shared.errors import StoreError
from shared.objectstore import ObjectStore, open_store
from shared.objectstore.selftest import check_store
from tests.infra.launcher_targets import BatchTarget
from tests.infra.terraform_aws import aws_applied
from tests.servers.runtime_api import lambda_function
from tests.servers.web_server import Handler, web_server

FUNCTIONS = Path(__file__).parents[2] / "functions"
BUCKET = "the-store"
SECRETS = {
    "LABEL_STUDIO_API_KEY": "a" * 40,
    "LABELLOOP_BASIC_AUTH_PASSWORD": "b" * 20,
    "LABELLOOP_WEBHOOK_SECRET": "c" * 20,
}
BASIC = {"authorization": f"Basic {base64.b64encode(b'labelloop:' + b'b' * 20).decode()}"}
PROJECT = {"id": 1, "created_at": "2026-01-01T00:00:00Z"}
CONFIG = '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="tree"/></RectangleLabels></View>'  # noqa: E501
SETUP = json.dumps({"project": "1.1767225600", "schema": CONFIG, "hostname": "http://x", "access_token": "x"})


@dataclass(frozen=True)
class Aws:
    """An AWS with an empty bucket, a queue, secrets, and a user a role, who has the role's policy."""

    url: str
    batch: BatchTarget
    environs: dict[str, dict[str, str]]

    def store(self, role: str, prefix: str = "labelloop") -> ObjectStore:
        """As `role` sees it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environs[role].items():
                patch.setenv(name, value)
            store = open_store(f"s3://{BUCKET}/{prefix}", s3_endpoint=self.url)
            assert list(store.list("nothing/")) == []  # boto3 looks for credentials when it first needs them
            return store


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    batch = BatchTarget(url)

    def client(service: str) -> Any:
        keys = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        any_client: Callable[..., Any] = boto3.client
        return any_client(service, endpoint_url=url, region_name="eu-central-1", **keys)

    client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    manager, iam = client("secretsmanager"), client("iam")
    arns = {name: manager.create_secret(Name=name, SecretString=value)["ARN"] for name, value in SECRETS.items()}
    environs = {}
    for role in ("light", "predict", "job"):
        iam.create_user(UserName=role)
        iam.put_user_policy(UserName=role, PolicyName="role", PolicyDocument=policy_of(role))
        key = iam.create_access_key(UserName=role)["AccessKey"]
        environs[role] = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": url,
            "SECRET_ARNS": json.dumps(arns),
        }
    requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=30).raise_for_status()  # from now on
    yield Aws(url, batch, environs)
    requests.post(f"{url}/moto-api/reset-auth", data=b"inf", timeout=30).raise_for_status()
    server.stop()


def policy_of(role: str) -> str:
    """The role's policy, for this bucket, and for any resource of what moto asks about without one."""
    applied = aws_applied()
    (arn,) = {one["arn"] for one in applied.all("aws_s3_bucket")}
    policy = json.loads(applied.one("aws_iam_role_policy", role)["policy"].replace(arn, f"arn:aws:s3:::{BUCKET}"))
    for statement in policy["Statement"]:
        if not statement["Action"][0].startswith("s3:"):
            statement["Resource"] = "*"
            statement["Action"] += [action.lower() for action in statement["Action"]]  # moto's spelling of Batch's
    return json.dumps(policy)


def function_environ(aws: Aws, role: str, function: str, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        **aws.environs[role],
        "LABELLOOP_STORE": f"s3://{BUCKET}/labelloop",
        "LABELLOOP_S3_ENDPOINT": aws.url,
        "FUNCTION_SOURCE": str(FUNCTIONS / function / "main.py"),
        "FUNCTION_TARGET": function,
        **more,
    }


def test_the_light_function_sets_up_launches_and_sweeps_from_an_empty_bucket(aws: Aws) -> None:
    totals = {**PROJECT, "num_tasks_with_annotations": 40, "total_annotations_number": 40}

    def label_studio(asked: Handler) -> None:
        asked.reply(200, json.dumps(totals if asked.path == "/api/projects/1" else {"total": 0, "tasks": []}).encode())

    order = json.dumps({"action": "START_TRAINING", "project": PROJECT})
    with web_server(label_studio) as web:
        more = {"LABEL_STUDIO_URL": web.url, "LABELLOOP_LAUNCHER": "aws-batch://gpu/train"}
        environ = function_environ(aws, "light", "train_trigger", **more)
        with lambda_function("infra.aws_lambda.main.handler", environ) as light:
            assert light.request("POST", "/setup", headers=BASIC, body=SETUP)["statusCode"] == 200
            answers = [light.request("POST", "/webhook", headers=BASIC, body=order)["body"] for _ in range(2)]
            assert [json.loads(answer)["status"] for answer in answers] == ["launched", "active"]
            outcomes = json.loads(light.invoke({"labelloop": "sweep"})["body"])["outcomes"]
            assert len(outcomes) == 1
            assert not outcomes.keys() & {"failed", "refused"}
    store = aws.store("job")
    assert sorted(key.rpartition("/")[2] for key in store.list("projects/")) == ["jobs.json", "project.json"]
    assert [key.rpartition("/")[2] for key in store.list("runs/")] == ["request.json"]
    assert list(store.list("labelloop/")) == ["labelloop/selftest.json"]  # what it tried the store on is gone
    with pytest.raises(StoreError, match="AccessDenied"):
        aws.store("light").delete("projects/1.1767225600/project.json")


def test_predict_reads_everything_and_writes_neither_models_nor_claims(aws: Aws) -> None:
    aws.store("job").put("projects/2.2/models/label/pointer.json", b"{}")
    store = aws.store("predict")
    assert store.get("projects/2.2/models/label/pointer.json") is not None
    store.put("projects/2.2/project.json", b"{}")
    store.create("projects/2.2/models/label/rejected/000001.json", b"{}")
    for key in ("models/label/pointer.json", "models/label/versions/000001.json", "jobs.json"):
        with pytest.raises(StoreError, match="AccessDenied"):
            store.put(f"projects/2.2/{key}", b"{}")
    with pytest.raises(StoreError, match="AccessDenied"):
        store.put("runs/2.2/r/request.json", b"{}")


def test_a_job_uses_its_part_of_the_bucket_and_destroys_no_version(aws: Aws, tmp_path: Path) -> None:
    store = aws.store("job")
    check_store(store)
    checkpoint = tmp_path / "1-1.pt"
    checkpoint.write_bytes(b"x" * 20_000_000)  # in parts
    key = "runs/3.3/r/checkpoints/label/1-1.pt"
    store.upload(key, checkpoint)
    store.download(key, tmp_path / "again.pt")
    store.delete(key)
    with pytest.raises(StoreError, match="AccessDenied"):
        aws.store("job", "elsewhere").put("x", b"x")

    keys = aws.environs["job"]
    client = boto3.client(
        "s3",
        endpoint_url=aws.url,
        region_name="eu-central-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=BUCKET, Key=f"labelloop/{key}", VersionId="1")
