"""Entry point of both functions on AWS Lambda: `python -m awslambdaric infra.aws_lambda.main.handler`.

functions-framework's FUNCTION_SOURCE and FUNCTION_TARGET choose the function; SECRET_ARNS names its secrets.
"""

import os
import sys

import boto3
from functions_framework import create_app

from infra.aws_lambda.events import make_handler
from infra.aws_lambda.secrets import read_secrets
from shared.errors import SettingsError

try:
    os.environ.update(read_secrets(os.environ, boto3.client("secretsmanager")))
except SettingsError as error:
    sys.exit(f"{os.environ.get('FUNCTION_TARGET', 'the function')} cannot start: {error}")

_app = create_app()  # type: ignore[no-untyped-call]
handler = make_handler(_app, os.environ.get("LABELLOOP_WEBHOOK_SECRET", ""))
