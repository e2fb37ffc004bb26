"""Errors of S3 and boto3 as StoreErrors: what was asked, what was found, what to set; without secrets."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from shared.errors import NotFound, StoreError, StoreRefusal, UnsafeStore
from shared.objectstore.bucket import Refused

_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)
_NO_CREDENTIALS_NOW = (CredentialRetrievalError, TokenRetrievalError)  # their source did not answer
_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")


def translate(error: Exception, doing: str, where: str) -> StoreError:
    """The StoreError for an error of boto3, or an OSError of the local file.

    `doing` and `where`: what was asked, and of which bucket and endpoint.
    """
    if isinstance(error, ClientError):
        return _answered(error, doing, where)
    what = f"{doing} in {where}"
    if isinstance(error, _NO_CREDENTIALS + _NO_CREDENTIALS_NOW):
        kind = StoreRefusal if isinstance(error, _NO_CREDENTIALS) else StoreError
        return kind(
            f"{what}: no credentials ({type(error).__name__}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE, or give this machine a role"
        )
    if isinstance(error, BotoConnectionError | HTTPClientError):
        return StoreError(
            f"{what}: not reachable ({type(error).__name__}); check LABELLOOP_S3_ENDPOINT and the network"
        )
    if isinstance(error, OSError) and not isinstance(error, BotoCoreError):
        return StoreError(f"{what}: {error.filename or 'local file'}: {error.strerror or type(error).__name__}")
    return StoreError(f"{what}: {type(error).__name__}: {error}")


def _answered(error: ClientError, doing: str, where: str) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    what = f"{doing} in {where}"
    if code == "NoSuchBucket":
        return StoreRefusal(f"{what}: there is no such bucket; create it, or set LABELLOOP_STORE to one that exists")
    if status in (304, 409, 412):
        return Refused(f"{what}: refused ({status} {code})")
    if status == 404:
        return NotFound(f"{what}: not found ({code})")
    if status == 501:
        return UnsafeStore(
            f"{what}: the server does not know conditional writes (501 {code}), so two writers would overwrite each "
            "other; use another server or a newer version of it"
        )
    if code == "RequestTimeTooSkewed":
        return StoreRefusal(f"{what}: the clock of this machine is wrong; set it by NTP")
    if code in _REGION:
        return StoreRefusal(f"{what}: the bucket is in another region ({code}); set AWS_DEFAULT_REGION to it")
    if status in (401, 403):
        return StoreRefusal(
            f"{what}: not allowed ({status} {code}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and allow "
            "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
        )
    return StoreError(f"{what}: the server failed ({status} {code})")
