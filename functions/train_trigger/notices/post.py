"""Posts one notice, signed, to an address that is a secret: no error or log line holds more of it than the host."""

import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from urllib3 import Timeout
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError, TimeoutError

from shared.errors import ImageError, NoticeError
from shared.media.addresses import AddressRules
from shared.network.connections import pool
from shared.network.resolver import Resolve, resolve
from shared.settings import Settings

Post = Callable[[str, bytes], int]
"""(id, JSON body) → the receiver's status, 200 to 299. Raises NoticeError."""

SECONDS = 5.0
"""For one notice, from looking up the receiver's name to the head of its answer."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What X-Labelloop-Signature holds: HMAC-SHA256 of `<timestamp>.<body>`, in hex."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def poster(settings: Settings, *, resolve: Resolve = resolve, seconds: float = SECONDS) -> Post:
    """A function that posts to LABELLOOP_NOTIFY_URL, which must be set. Redirects are not followed."""
    assert settings.notify_url is not None
    url, secret = settings.notify_url.get_secret_value(), settings.notify_secret
    rules = AddressRules(
        settings.notify_private_hosts,
        resolve=resolve,
        setting="LABELLOOP_NOTIFY_PRIVATE_HOSTS",
        what="notices may be sent there",
    )
    http = pool(rules.connect, kept=1, idle=0)
    host = urlsplit(url).hostname

    def post(notice_id: str, body: bytes) -> int:
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "labelloop",
            "X-Labelloop-Notice": notice_id,
            "X-Labelloop-Timestamp": timestamp,
        }
        if secret is not None:
            headers["X-Labelloop-Signature"] = signature(secret.get_secret_value(), timestamp, body)
        try:
            response = http.request(
                "POST",
                url,
                body=body,
                headers=headers,
                timeout=Timeout(total=seconds),
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except ImageError as error:  # of the rules; `from None`: the errors of urllib3 hold the whole address
            raise NoticeError(str(error)) from None
        except NewConnectionError:
            raise NoticeError(f"{host} is not reachable") from None
        except TimeoutError:
            raise NoticeError(f"{host} did not answer within {seconds:g} s") from None
        except SSLError:
            raise NoticeError(f"{host} has a certificate that is not trusted") from None
        except (HTTPError, OSError, ValueError) as error:
            raise NoticeError(f"{host} is not reachable ({type(error).__name__})") from None
        response.close()  # whatever it says, however long
        if 300 <= response.status < 400:
            raise NoticeError(f"{host} answers {response.status}: redirects are not followed")
        if not 200 <= response.status < 300:
            raise NoticeError(f"{host} answers {response.status}")
        return response.status

    return post
