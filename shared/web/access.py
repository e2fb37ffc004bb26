"""Access rules of the functions: Basic auth, labelloop's secret header, or requests from this machine only."""

import base64
import hmac
import ipaddress
import re
import socket
from typing import Literal

from flask import Request, Response

from shared.settings import Settings, is_loopback
from shared.web.answers import answer

Access = Literal["open", "basic", "basic or secret"]
SECRET_HEADER = "X-Labelloop-Secret"  # noqa: S105
_PORT = re.compile(r":[0-9]*$")
_ORIGIN = "; or a proxy has changed the Host: let it set X-Forwarded-Host to the one that was asked for"


def refusal(request: Request, access: Access, settings: Settings) -> Response | None:
    """The response to a request without access: 401, or 403 to a page of another site. None if it has access.

    A browser that knows the password sends it with whatever any page has it post; so it does with what a proxy in front
    knows it by, and from inside a network that nobody else can reach.
    """
    if access == "open":
        return None
    if settings.auth == "off":
        return _refuse_posts_of_other_sites(request)
    secrets = (settings.basic_auth_password, settings.webhook_secret)
    if secrets == (None, None) and settings.loopback and _came_by_loopback(request):
        return _refuse_other_sites(request)
    if _has_credentials(request, access, settings):
        return _refuse_posts_of_other_sites(request)
    challenge = {"WWW-Authenticate": 'Basic realm="labelloop"'}
    return answer({"error": "credentials are missing or wrong"}, 401, challenge)


def came_from_another_site(request: Request) -> bool:
    """Whether a browser says so. A proxy in front may have changed the Host, and then says which one was asked for.

    Sec-Fetch-Site is sent to https:// and to this machine only, Origin with every form.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site != "same-origin"
    if origin is None:
        return False
    asked = (request.headers.get("Host"), request.headers.get("X-Forwarded-Host"))
    return origin.partition("://")[2] not in asked


def _has_credentials(request: Request, access: Access, settings: Settings) -> bool:
    password, secret = settings.basic_auth_password, settings.webhook_secret
    if password is not None:
        pair = f"{settings.basic_auth_user}:{password.get_secret_value()}"
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # Compared in its encoded form: untrusted input is not decoded.
        same = _same(given.strip(), base64.b64encode(pair.encode()).decode())
        if same and scheme.lower() == "basic":
            return True
    return (
        access == "basic or secret"
        and secret is not None
        and _same(request.headers.get(SECRET_HEADER, ""), secret.get_secret_value())
    )


def _refuse_posts_of_other_sites(request: Request) -> Response | None:
    if request.method == "POST" and came_from_another_site(request):
        return answer({"error": f"a page of another site has sent this{_ORIGIN}"}, 403)
    return None


def _came_by_loopback(request: Request) -> bool:
    """Whether the connection was made to a loopback address. HOST may say so wrongly: the server's `--host` decides.

    True if the server does not expose its socket.
    """
    connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ipaddress.ip_address(connection.getsockname()[0].partition("%")[0]).is_loopback


def _refuse_other_sites(request: Request) -> Response | None:
    """403 to a request made by a page of another site, which a browser on this machine would send.

    Such a page may use a host name that resolves to 127.0.0.1, so the Host must be a name of this machine.
    """
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    name = _PORT.sub("", host).strip("[]").lower()
    if is_loopback(name):
        if origin in (None, f"http://{host}", f"https://{host}"):
            return None
        said = f"Origin: {origin}"
    else:
        said = f"Host: {host}"
    problem = f"{said[:100]} is another site, and without credentials this machine alone is answered: "
    return answer({"error": problem + "set LABELLOOP_BASIC_AUTH_PASSWORD and LABELLOOP_WEBHOOK_SECRET"}, 403)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="backslashreplace"), expected.encode())
