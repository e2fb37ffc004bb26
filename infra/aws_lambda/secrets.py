"""Secrets of a Lambda function: Lambda's environment shows what it holds to whoever may look at the function."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import SettingsError


def read_secrets(environ: Mapping[str, str], client: Any) -> dict[str, str]:
    """The variables that SECRET_ARNS names (JSON: variable → ARN), read with boto3's client of Secrets Manager.

    Raises SettingsError for a secret that has no value, or that the function's role may not read.
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
            raise SettingsError(f"{variable}: Secrets Manager cannot be asked for {arn}: {error}") from error
    return values
