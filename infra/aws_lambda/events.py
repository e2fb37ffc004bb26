"""Handles Lambda's events: requests to the Function URL, and the schedule's sweep."""

from collections.abc import Callable
from typing import Any

from apig_wsgi import make_lambda_handler
from flask import Flask

from shared.web.access import SECRET_HEADER

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

SWEEP = {"labelloop": "sweep"}
"""The schedule's event. It needs IAM's right to invoke the function: requests to a Function URL come wrapped."""


def make_handler(app: Flask, webhook_secret: str) -> Handler:
    """The Lambda handler of a function: events become WSGI requests, the schedule's `POST /sweep` with the secret.

    It raises RuntimeError for a sweep that is not answered with 200, which CloudWatch counts as an error.
    """
    answer = make_lambda_handler(app)

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        if event != SWEEP:
            return answer(event, context)
        response = answer(_sweep_request(webhook_secret), context)
        if response["statusCode"] != 200:
            raise RuntimeError(f"the sweep was answered {response['statusCode']}: {response['body'][:500]}")
        return response

    return handler


def _sweep_request(webhook_secret: str) -> dict[str, Any]:
    """The sweep as an event of a Function URL, payload format 2.0.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
    """
    return {
        "version": "2.0",
        "rawPath": "/sweep",
        "rawQueryString": "",
        "headers": {SECRET_HEADER.lower(): webhook_secret},
        "requestContext": {"http": {"method": "POST", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}},
        "isBase64Encoded": False,
    }
