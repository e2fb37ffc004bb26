"""Every error that labelloop raises on purpose. Each message says what was asked, what was found and what to set.

LabelloopError
├── SettingsError            a setting is unknown, missing or invalid: the program does not start
├── StoreError               the object store failed (network, disk): a retry may succeed
│   ├── NotFound             no object at that key
│   ├── AlreadyExists        create: there is an object at that key
│   ├── PreconditionFailed   replace: the object changed since its token was read
│   └── StoreRefusal         a retry does not help: no permission, no such bucket, an object that is not a valid record
│       └── UnsafeStore      the store ignores conditional writes and must not be used
├── LabelStudioError         Label Studio is unreachable, failed, or sent an unexpected answer
│   ├── Unauthorized         the token was refused
│   ├── NotLabelStudio       something else answers at LABEL_STUDIO_URL
│   └── ProjectGone          Label Studio itself says that the project does not exist: it is closed
├── NotKnown                 the store holds no such project, control or version
├── BadRequest               the body of a request is malformed
│   └── BodyTooLarge         the body exceeds a size limit
├── LabelConfigError         a labeling config is invalid
├── ImageError               one image or video cannot be fetched or decoded; `reason` is one word, for counters
├── ModelError               weights cannot be downloaded, verified, loaded or run
├── BudgetSpent              the jobs of a project, or of all, may not run any more today, or this month
├── NoticeError              a notice could not be sent: the receiver refused it, or cannot be reached
├── ClaimLost                another attempt owns the project now, or the claim's fence is old
└── LaunchError              a launcher refused or failed to start a job
"""


class LabelloopError(Exception):
    """Base of all. The message is written for a person."""


def sentence_of(error: Exception) -> str:
    """What is told of an error that may be of any kind: at most 500 characters, with the kind where it is not ours."""
    return (str(error) if isinstance(error, LabelloopError) else f"{type(error).__name__}: {error}")[:500]


class SettingsError(LabelloopError):
    """A setting is unknown, missing or invalid."""


class StoreError(LabelloopError):
    """The object store failed: unreachable, overloaded, full. A retry may succeed."""


class NotFound(StoreError):
    """No object at that key."""


class AlreadyExists(StoreError):
    """`create` found an object at that key."""


class PreconditionFailed(StoreError):
    """`replace` found that the object changed since its token was read."""


class StoreRefusal(StoreError):
    """The store refused; a retry does not help until a person changes something. Not an outage."""


class UnsafeStore(StoreRefusal):
    """The store ignores conditional writes: two writers would silently overwrite each other."""


class LabelStudioError(LabelloopError):
    """Label Studio is unreachable, failed, or sent an answer that is not its API's.

    `status`: the HTTP status of its answer; None without an answer, or if Label Studio did not send it.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unauthorized(LabelStudioError):
    """Label Studio refused the token."""


class NotLabelStudio(LabelStudioError):
    """Something else answers at LABEL_STUDIO_URL: it must not get the token."""


class ProjectGone(LabelStudioError):
    """The project does not exist, or not any more."""


class NotKnown(LabelloopError):
    """The store holds no such project, control or version."""


class BadRequest(LabelloopError):
    """The body of a request is malformed."""


class BodyTooLarge(BadRequest):
    """The body of a request exceeds a size limit."""


class LabelConfigError(LabelloopError):
    """The labeling config is invalid."""


class ImageError(LabelloopError):
    """One image or video cannot be fetched or decoded.

    `reason` is a word from a fixed set, as it becomes a metric label: refused, not_found, forbidden (a request without
    credentials), unauthorized (our credentials, or those of Label Studio's storage), no_data, timeout, too_large,
    no_memory, broken, changed (other bytes than a version learnt from), unreachable, unsupported, unusable (an
    annotation), crashed (an unexpected error of a decoder).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ModelError(LabelloopError):
    """Weights cannot be downloaded, verified, loaded or run."""


class BudgetSpent(LabelloopError):
    """The jobs of a project, or of all projects, have used up their time: the next attempt goes on later."""


class NoticeError(LabelloopError):
    """A notice could not be sent. The message never holds the address, which is a secret."""


class ClaimLost(LabelloopError):
    """The claim belongs to another attempt now, or its fence is older than what it would change."""


class LaunchError(LabelloopError):
    """A launcher refused or failed to start a job."""
