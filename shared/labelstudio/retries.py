"""Jobs wait out Label Studio's short outages: each request is tried six times, within about a minute."""

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from shared.errors import LabelStudioError, ProjectGone, Unauthorized

_TRANSIENT = (408, 425, 429)  # statuses below 500 that are worth another try


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if not isinstance(error, LabelStudioError) or isinstance(error, ProjectGone | Unauthorized):
        return False
    return error.status is None or error.status >= 500 or error.status in _TRANSIENT


with_retries = retry(
    retry=retry_if_exception(is_transient),
    wait=wait_random_exponential(0.5, max=20),
    stop=stop_after_attempt(6),
    reraise=True,
)
"""Decorates a function that asks Label Studio, and may ask twice."""
