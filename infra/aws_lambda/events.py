"""What Lambda hands over: requests to the Function URL, and the schedule's sweep."""

from collections.abc import Callable
from typing import Any

from apig_wsgi import make_lambda_handler
from flask import Flask

from shared.web.access import SECRET_HEADER

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

SWEEP = {"labelloop": "sweep"}
"""The schedule's event. Only who may invoke the function by IAM can send it: a Function URL wraps what it is sent."""


def make_handler(app: Flask, webhook_secret: str) -> Handler:
    """The handler of one function: events become WSGI requests, the schedule's one `POST /sweep` with the secret.

    A sweep that is not answered by 200 raises RuntimeError, so that CloudWatch counts it as an error.
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
    """As a Function URL would bring it: payload format 2.0.

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
