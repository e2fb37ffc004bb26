"""Stores that behave as bad stores and bad networks do, each around a good one."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, StoreError, StoreRefusal
from shared.objectstore import ObjectStore, Stored, Token


class Around:
    """Everything as the store inside does it; subclasses misbehave in one way."""

    def __init__(self, inside: ObjectStore) -> None:
        self.inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside, name)


class LosesAnswers(Around):
    """Does the next `len(lose)` conditional writes, then answers each with a refusal or an error of the network."""

    def __init__(self, inside: ObjectStore, *lose: Literal["refused", "no answer"]) -> None:
        super().__init__(inside)
        self.lose = list(lose)

    def create(self, key: str, data: bytes) -> Token:
        return self._lost(self.inside.create(key, data), AlreadyExists(key))

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        return self._lost(self.inside.replace(key, data, token), PreconditionFailed(key))

    def _lost(self, token: Token, refusal: StoreError) -> Token:
        if not self.lose:
            return token
        raise refusal if self.lose.pop(0) == "refused" else UNREACHABLE


UNREACHABLE = StoreError("the network broke")


class BeforeWrite(Around):
    """Calls `then` once, just before the next conditional write of a key that ends so: somebody else is faster."""

    def __init__(self, inside: ObjectStore, then: Callable[[], object], ending: str = "") -> None:
        super().__init__(inside)
        self._then: Callable[[], object] | None = then
        self._ending = ending

    def _now(self, key: str) -> None:
        if self._then and key.endswith(self._ending):
            then, self._then = self._then, None
            then()

    def create(self, key: str, data: bytes) -> Token:
        self._now(key)
        return self.inside.create(key, data)

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        self._now(key)
        return self.inside.replace(key, data, token)


class Clocked(Around):
    """Tells the time that a test sets."""

    def __init__(self, inside: ObjectStore, time: datetime) -> None:
        super().__init__(inside)
        self.time = time

    def now(self) -> datetime:
        return self.time


class Unreachable(Around):
    """Nothing answers."""

    def __init__(self, inside: ObjectStore) -> None:
        super().__init__(inside)

    def _fail(self, *_: object, **__: object) -> Any:
        raise UNREACHABLE

    get = create = replace = put = delete = list = folders = upload = download = now = _fail


class Refuses(Around):
    """Answers 403 to the next `times` writes of keys that hold `part`."""

    def __init__(self, inside: ObjectStore, part: str = "", times: int = 0) -> None:
        super().__init__(inside)
        self.part, self.times = part, times

    def create(self, key: str, data: bytes) -> Token:
        self._ask(key)
        return self.inside.create(key, data)

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        self._ask(key)
        return self.inside.replace(key, data, token)

    def put(self, key: str, data: bytes) -> Token:
        self._ask(key)
        return self.inside.put(key, data)

    def upload(self, key: str, path: Path) -> None:
        self._ask(key)
        self.inside.upload(key, path)

    def _ask(self, key: str) -> None:
        if self.times and self.part in key:
            self.times -= 1
            raise StoreRefusal(f"writing {key}: not allowed (403)")


class OverwritesOnCreate(Around):
    """If-None-Match is ignored."""

    def create(self, key: str, data: bytes) -> Token:
        return self.inside.put(key, data)


class OverwritesOnReplace(Around):
    """If-Match is ignored."""

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        return self.inside.put(key, data)


class RevivesOnReplace(Around):
    """If-Match is honoured only while there is an object."""

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        try:
            self.inside.get(key)
        except NotFound:
            return self.inside.put(key, data)
        return self.inside.replace(key, data, token)


class RefusesAfterWriting(Around):
    """Answers as it should, but writes before it looks."""

    def create(self, key: str, data: bytes) -> Token:
        try:
            return self.inside.create(key, data)
        except AlreadyExists:
            self.inside.put(key, data)
            raise


class LooksThenCreates(Around):
    """Check and write are two steps; writers that come together all pass the check."""

    def __init__(self, inside: ObjectStore) -> None:
        super().__init__(inside)
        self._looked = threading.Barrier(8)

    def create(self, key: str, data: bytes) -> Token:
        try:
            self.inside.get(key)
        except NotFound:
            if key.endswith("/creates"):
                self._looked.wait(10)
            return self.inside.put(key, data)
        raise AlreadyExists(key)


class LooksThenReplaces(Around):
    """As LooksThenCreates, for replace."""

    def __init__(self, inside: ObjectStore) -> None:
        super().__init__(inside)
        self._looked = threading.Barrier(8)

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        try:
            unchanged = self.inside.get(key, token) is None
        except NotFound:
            unchanged = False
        if not unchanged:
            raise PreconditionFailed(key)
        if key.endswith("/replaces"):
            self._looked.wait(10)
        return self.inside.put(key, data)


class AnswersOldReads(Around):
    """A cache in between: what was read once is answered for ever."""

    def __init__(self, inside: ObjectStore) -> None:
        super().__init__(inside)
        self._cache: dict[str, Stored] = {}

    def create(self, key: str, data: bytes) -> Token:
        token = self.inside.create(key, data)
        self._cache[key] = Stored(data, token)
        return token

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        return self._cache.get(key) or self.inside.get(key, if_changed_from)


class CountsTrips(Around):
    """Counts what is asked, by verb and key: each is a trip to a bucket.

    After `meet(parties, *endings)` whatever is asked about a key that ends so waits until as many as `parties` of them
    are under way: who asks one after the other gets no answer. May be called for several groups of keys.
    """

    def __init__(self, inside: ObjectStore) -> None:
        super().__init__(inside)
        self.trips: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._meetings: list[tuple[tuple[str, ...], threading.Barrier]] = []

    def meet(self, parties: int, *endings: str) -> None:
        self._meetings.append((endings, threading.Barrier(parties, timeout=10)))

    def count(self, *verbs: str) -> int:
        return sum(number for (verb, _), number in self.trips.items() if not verbs or verb in verbs)

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        self._note("get", key)
        return self.inside.get(key, if_changed_from)

    def list(self, prefix: str) -> Iterator[str]:
        self._note("list", prefix)
        return self.inside.list(prefix)

    def folders(self, folder: str) -> Iterator[str]:
        self._note("folders", folder)
        return self.inside.folders(folder)

    def create(self, key: str, data: bytes) -> Token:
        self._note("create", key)
        return self.inside.create(key, data)

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        self._note("replace", key)
        return self.inside.replace(key, data, token)

    def put(self, key: str, data: bytes) -> Token:
        self._note("put", key)
        return self.inside.put(key, data)

    def _note(self, verb: str, key: str) -> None:
        with self._lock:
            self.trips[verb, key] += 1
        for endings, met in self._meetings:
            if key.endswith(endings):
                try:
                    met.wait()
                except threading.BrokenBarrierError as error:
                    raise StoreError(f"{key} is asked for alone") from error
