"""Both functions behind AWS Lambda's own runtime client, in an AWS that moto plays."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.servers.runtime_api import lambda_function

HANDLER = "infra.aws_lambda.main.handler"
ROOT = Path(__file__).parent.parent.parent
SECRETS = {
    "LABEL_STUDIO_API_KEY": "a" * 40,
    "LABELLOOP_BASIC_AUTH_PASSWORD": "b" * 20,
    "LABELLOOP_WEBHOOK_SECRET": "c" * 20,
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-central-1"}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def environ(moto: str, tmp_path: Path) -> dict[str, str]:
    keys: dict[str, Any] = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("secretsmanager", endpoint_url=moto, region_name="eu-central-1", **keys)
    arns = {name: client.create_secret(Name=f"{tmp_path.name}/{name}")["ARN"] for name in (*SECRETS, "empty")}
    for name, value in SECRETS.items():
        client.put_secret_value(SecretId=arns[name], SecretString=value)
    return {
        **CREDENTIALS,
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto,
        "EMPTY_ARN": arns.pop("empty"),
        "SECRET_ARNS": json.dumps(arns),
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABELLOOP_STORE": f"file://{tmp_path}/store",
        "FUNCTION_SOURCE": str(ROOT / "functions/train_trigger/main.py"),
        "FUNCTION_TARGET": "train_trigger",
    }


def test_the_light_function_answers_label_studio_and_sweeps_for_the_schedule_alone(environ: dict[str, str]) -> None:
    password = base64.b64encode(f"labelloop:{SECRETS['LABELLOOP_BASIC_AUTH_PASSWORD']}".encode()).decode()
    with lambda_function(HANDLER, environ) as light:
        assert light.request("GET", "/health")["statusCode"] == 200

        versions = light.request("GET", "/versions", headers={"authorization": f"Basic {password}"})
        assert json.loads(versions["body"]) == {"versions": []}
        assert light.request("GET", "/versions")["statusCode"] == 401
        event = {"x-labelloop-secret": "a guess"}
        assert light.request("POST", "/webhook", headers=event, body="{}")["statusCode"] == 401

        swept = light.invoke({"labelloop": "sweep"})  # the schedule's input in infra/terraform/aws/light.tf
        assert json.loads(swept["body"])["projects"] == 0
        # The same words from outside arrive as the body of a request.
        assert light.request("POST", "/sweep", body='{"labelloop": "sweep"}')["statusCode"] == 401


def test_a_sweep_that_fails_is_an_error_for_lambda(environ: dict[str, str], moto: str) -> None:
    store = {"LABELLOOP_STORE": "s3://no-such-bucket/labelloop", "LABELLOOP_S3_ENDPOINT": moto}
    refusal = pytest.raises(RuntimeError, match="the sweep was answered 5")
    with lambda_function(HANDLER, {**environ, **store}) as light, refusal:
        light.invoke({"labelloop": "sweep"})


def test_predict_runs_there_too(environ: dict[str, str]) -> None:
    source = {"FUNCTION_SOURCE": str(ROOT / "functions/predict/main.py"), "FUNCTION_TARGET": "predict"}
    with lambda_function(HANDLER, {**environ, **source, "LABELLOOP_DUMMY": "true"}) as predict:
        assert predict.request("GET", "/health")["statusCode"] == 200
        assert predict.request("POST", "/predict", body="{}")["statusCode"] == 401


def test_a_secret_without_value_stops_the_start_with_one_sentence(environ: dict[str, str]) -> None:
    arns = json.dumps({"LABEL_STUDIO_API_KEY": environ["EMPTY_ARN"]})
    ended = subprocess.run(
        [sys.executable, "-c", "import infra.aws_lambda.main"],
        cwd=ROOT,
        env={**environ, "SECRET_ARNS": arns},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    sentence = ended.stderr.strip().splitlines()[-1]
    assert sentence.startswith("train_trigger cannot start: LABEL_STUDIO_API_KEY: arn:aws:secretsmanager:")
    assert "has no value yet" in sentence
    assert "Traceback" not in ended.stderr
