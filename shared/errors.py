"""Every error that labelloop raises on purpose. Each message says what was asked, what was found and what to set.

LabelloopError
├── SettingsError            a variable is unknown, missing or wrong: the start stops
├── StoreError               the object store failed (network, disk): it may answer a little later
│   ├── NotFound             no object at that key
│   ├── AlreadyExists        create: somebody was first
│   ├── PreconditionFailed   replace: somebody changed it since the token was read
│   └── StoreRefusal         waiting changes nothing: not allowed, no such bucket, a body that is no record
│       └── UnsafeStore      the store ignores conditions and must not be used
├── LabelStudioError         Label Studio failed or answered nonsense
│   ├── Unauthorized         the token was refused
│   └── ProjectGone          Label Studio itself says that there is no such project: it is closed
├── BadRequest               a caller's body cannot be understood
│   └── BodyTooLarge         it is more than is read, or kept
├── LabelConfigError         a labeling config cannot be understood
├── ImageError               one image cannot be had or decoded; `reason` is one word, for counters
├── ModelError               weights cannot be downloaded, verified, loaded or run
├── ClaimLost                another attempt owns the project now, or the claim's fence is old
└── LaunchError              a launcher refused or failed
"""


class LabelloopError(Exception):
    """Base of all: a message for a person."""


class SettingsError(LabelloopError):
    """A variable is unknown, missing or wrong."""


class StoreError(LabelloopError):
    """The object store failed: not reachable, overloaded, full."""


class NotFound(StoreError):
    """No object at that key."""


class AlreadyExists(StoreError):
    """`create` found an object at that key."""


class PreconditionFailed(StoreError):
    """`replace` found another object than the one its token names."""


class StoreRefusal(StoreError):
    """The store answered, and would answer the same again until a person changes something. No outage."""


class UnsafeStore(StoreRefusal):
    """The store ignores conditional writes: two writers would overwrite each other unseen."""


class LabelStudioError(LabelloopError):
    """Label Studio is not reachable, failed, or answered something that is not its API.

    `status` of its answer; None if none came, or nothing that Label Studio says.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unauthorized(LabelStudioError):
    """Label Studio refused the token."""


class ProjectGone(LabelStudioError):
    """The project does not exist (any more)."""


class BadRequest(LabelloopError):
    """The body of a request cannot be understood."""


class BodyTooLarge(BadRequest):
    """The body of a request is more than is read, or kept."""


class LabelConfigError(LabelloopError):
    """The labeling config cannot be understood."""


class ImageError(LabelloopError):
    """One image cannot be fetched or decoded.

    `reason` is a word from a small fixed set (it becomes a metric label): refused, not_found, forbidden (to whoever
    asks without credentials), unauthorized (ours, or those of Label Studio's storage), no_data, timeout, too_large,
    no_memory, broken, unreachable, unsupported, unusable (what is annotated); crashed: a reader did not foresee it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ModelError(LabelloopError):
    """Weights cannot be downloaded, verified, loaded or run."""


class ClaimLost(LabelloopError):
    """The claim belongs to another attempt now, or its fence is older than what it would change."""


class LaunchError(LabelloopError):
    """A launcher refused or failed to start a job."""
