"""Reads a Lambda function's secrets from Secrets Manager; its environment would show them to all who may view it."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import SettingsError


def read_secrets(environ: Mapping[str, str], client: Any) -> dict[str, str]:
    """Variable → secret for each of SECRET_ARNS (JSON: variable → ARN). `client`: boto3's, of Secrets Manager.

    Raises SettingsError for a secret that has no value or cannot be read.
    """
    arns = json.loads(environ.get("SECRET_ARNS", "{}"))
    values = {}
    for variable, arn in arns.items():
        try:
            values[variable] = client.get_secret_value(SecretId=arn)["SecretString"]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code != "ResourceNotFoundException":
                raise SettingsError(f"{variable}: Secrets Manager refused {arn}: {code}") from error
            raise SettingsError(f"{variable}: {arn} has no value yet: aws secretsmanager put-secret-value") from error
        except BotoCoreError as error:
            raise SettingsError(f"{variable}: Secrets Manager cannot be reached for {arn}: {error}") from error
    return values
