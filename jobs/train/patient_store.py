"""An object store that retries during an outage, as long as the attempt holds its claim."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from shared.objectstore import ObjectStore
from shared.state.heartbeat import Heartbeat

P = ParamSpec("P")
T = TypeVar("T")


class PatientStore:
    """An ObjectStore around `store` that repeats each call while `store` cannot be reached.

    Raises the errors of `store`, an outage's only after an hour or when the claim is lost meanwhile; ClaimLost or
    StoreRefusal if the heartbeat had ended before the call.
    """

    def __init__(self, store: ObjectStore, heartbeat: Heartbeat) -> None:
        def patient(ask: Callable[P, T]) -> Callable[P, T]:
            def asked(*args: P.args, **kwargs: P.kwargs) -> T:
                return heartbeat.patiently(ask, *args, **kwargs)

            return asked

        self.url = store.url
        self.get = patient(store.get)
        self.create = patient(store.create)
        self.replace = patient(store.replace)
        self.put = patient(store.put)
        self.delete = patient(store.delete)
        # As a whole: an outage may begin between two keys.
        self.list = patient(lambda prefix: iter(tuple(store.list(prefix))))
        self.folders = patient(lambda folder: iter(tuple(store.folders(folder))))
        self.upload = patient(store.upload)
        self.download = patient(store.download)
        self.now = patient(store.now)
