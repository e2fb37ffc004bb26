"""Errors of Google Cloud Storage and its library as StoreErrors, without secrets and without the URL of an upload."""

from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, RetryError
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests import RequestException
from urllib3.exceptions import HTTPError

from shared.errors import NotFound, StoreError, StoreRefusal
from shared.objectstore.bucket import Refused, Unavailable

FOREIGN = (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, RequestException, HTTPError, OSError)
"""What the library raises, and OSErrors of the local file."""

_FAILING = (408, 500, 502, 503, 504)


class TooOften(Unavailable):
    """429: more than about one write a second for one object, or more requests than the bucket accepts now."""


def translate(error: BaseException, doing: str, where: str) -> StoreError:
    """The StoreError for an error of FOREIGN. `doing` and `where`: what was asked, and of which bucket."""
    what = f"{doing} in {where}"
    if isinstance(error, RetryError) and error.cause:
        return translate(error.cause, doing, where)
    if isinstance(error, GoogleAPICallError):
        return _answered(error.code or 0, str(error), doing, where)
    if isinstance(error, InvalidResponse):
        return _answered(error.response.status_code, "", doing, where)
    if isinstance(error, DataCorruption):
        return Unavailable(f"{what}: the bytes were damaged on their way")
    if isinstance(error, TransportError | RequestException | HTTPError | ConnectionError):
        return Unavailable(
            f"{what}: not reachable ({type(error).__name__}); check the network, and STORAGE_EMULATOR_HOST if it is set"
        )
    if isinstance(error, GoogleAuthError):
        unanswered = error.retryable or isinstance(error.__cause__, TransportError)  # a machine's metadata server
        kind = StoreError if unanswered else StoreRefusal
        return kind(
            f"{what}: no credentials, or refused ones ({type(error).__name__}); give this machine a service account, "
            "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login"
        )
    if isinstance(error, OSError):
        return StoreError(f"{what}: {error.filename or 'local file'}: {error.strerror or type(error).__name__}")
    return StoreError(f"{what}: {type(error).__name__}")


def no_such_bucket(doing: str, where: str) -> StoreRefusal:
    """The error for a missing bucket. Google answers 404 as for a missing object, with another text."""
    return StoreRefusal(
        f"{doing} in {where}: there is no such bucket; create it, or set LABELLOOP_STORE to one that exists"
    )


def _answered(status: int, words: str, doing: str, where: str) -> StoreError:
    what = f"{doing} in {where}"
    if status == 404:
        if "bucket does not exist" in words:
            return no_such_bucket(doing, where)
        return NotFound(f"{what}: not found")
    if status == 410:
        return NotFound(f"{what}: the upload has ended or expired")
    if status in (304, 409, 412):
        return Refused(f"{what}: refused ({status})")
    if status in (401, 403):
        return StoreRefusal(
            f"{what}: not allowed ({status}); check the credentials, and grant roles/storage.objectUser on the bucket"
        )
    if status == 429:
        return TooOften(f"{what}: overloaded (429)")
    if status in _FAILING:
        return Unavailable(f"{what}: the server failed ({status})")
    kind = StoreRefusal if 400 <= status < 500 else StoreError
    return kind(f"{what}: the server failed ({status})")
