"""The shares of a prelabelling by several workers: one object a share, taken and reported by compare-and-swap.

All workers of a launch get the same request, and none is told which one it is. The one that takes the claim leads:
it ends the run once every share is written. Each worker, the leader too, takes one share after the other that nobody
works on: never begun, given up, or not reported for the lifetime of a claim, because its worker was killed. So a
second copy of a launch finds nothing to take, and a worker that is gone or never came delays the run and no more.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from jobs.prelabel.ports import Part
from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import keys, records
from shared.state.jobs_record import Claim
from shared.state.records import Record, new_serial

_PATIENCE = 30.0  # seconds of losing to other writers


class Written(Record):
    """What was stored for the tasks of one share, or of all."""

    version: str  # model_version of the predictions
    through: int  # id of the last task that was looked at
    stored: int = 0  # predictions
    left: int = 0  # tasks without one
    empty: int = 0  # predictions in which nothing was found
    why: dict[str, int] = Field(default_factory=dict)  # reason → tasks without one
    complete: bool = True  # no task is left to look at; else this version is not to be shown any more


class Share(Record):
    """One share of a run."""

    serial: str = Field(default_factory=new_serial)
    fence: int  # of the run's claim; a share of an older one means nothing
    nonce: str  # of the process that writes it, or wrote it
    seen: int = 0  # tasks that it has looked at
    written: Written | None = None  # None: under way, or given up
    given_up: bool = False
    reported_at: AwareDatetime  # by the store's clock


class Shares:
    """The shares of one attempt, as one of its processes sees them. Methods raise StoreError. Thread-safe."""

    def __init__(self, store: ObjectStore, uid: str, claim: Claim, nonce: str, version: str, lifetime: float) -> None:
        """`nonce`: of this process; `version`: that it writes; `lifetime`: in seconds, of a share without a report."""
        self._store, self._uid, self._nonce, self._version = store, uid, nonce, version
        self._fence, self._count, self._leader = claim.fence, claim.workers, claim.nonce
        self._lifetime = timedelta(seconds=lifetime)
        self._ours: Part | None = None  # the share that was taken last

    def take(self) -> Part | None:
        """Take a share that nobody works on; None if there is none."""
        self._ours = next((Part(number, self._count) for number in range(self._count) if self._take(number)), None)
        return self._ours

    def beat(self) -> None:
        """Say that our share is still worked on, also while a single task takes long. Raises ClaimLost as `report`."""
        if part := self._ours:
            self.report(part, 0)

    def report(self, part: Part, seen: int, written: Written | None = None, *, given_up: bool = False) -> None:
        """Say how far our share is. Raises ClaimLost if another worker took it over."""

        def reported(found: Share | None) -> Share:
            if found is None or (found.fence, found.nonce) != (self._fence, self._nonce):
                raise ClaimLost(f"share {part.number} of {part.of} is another worker's by now")
            now = self._store.now()
            changed = evolve(found, serial=new_serial(), seen=max(seen, found.seen), reported_at=now)
            return evolve(changed, written=written or found.written, given_up=given_up or found.given_up)

        records.update(Share, self._store, self._key(part.number), reported, patience=_PATIENCE)

    def seen(self) -> int:
        """Tasks that all workers together have looked at."""
        return sum(share.seen for share in self._all())

    def written(self) -> Written:
        """What is stored by now; `complete` once every share is written."""
        each = [share.written for share in self._all() if share.written and self._is_ours(share.written)]
        return _added(self._version, each, complete=len(each) == self._count)

    def _all(self) -> Iterator[Share]:
        """The shares that were begun in this attempt."""
        found = (records.find(Share, self._store, self._key(number))[0] for number in range(self._count))
        return (share for share in found if share and share.fence == self._fence)

    def _take(self, number: int) -> bool:
        def taken(found: Share | None) -> Share | None:
            now = self._store.now()
            if found and (found.fence > self._fence or (found.fence == self._fence and self._is_taken(found, now))):
                return None
            return Share(fence=self._fence, nonce=self._nonce, reported_at=now)

        stored = records.update(Share, self._store, self._key(number), taken, patience=_PATIENCE)
        held = stored is not None and (stored.fence, stored.nonce) == (self._fence, self._nonce)
        return held and stored is not None and stored.written is None

    def _is_taken(self, share: Share, now: datetime) -> bool:
        if share.written:
            return self._is_ours(share.written)
        # The leader's claim says that it lives; a share by itself says so of the others.
        silent = share.nonce != self._leader and now >= share.reported_at + self._lifetime
        return not (share.given_up or silent)

    def _is_ours(self, written: Written) -> bool:
        return written.complete and written.version == self._version

    def _key(self, number: int) -> str:
        return keys.share(self._uid, number)


def _added(version: str, each: list[Written], *, complete: bool) -> Written:
    """The sum of all shares: every task up to the least of their last ones was looked at."""
    reasons = sorted({reason for one in each for reason in one.why})
    return Written(
        version=version,
        through=min((one.through for one in each), default=0),
        stored=sum(one.stored for one in each),
        left=sum(one.left for one in each),
        empty=sum(one.empty for one in each),
        why={reason: sum(one.why.get(reason, 0) for one in each) for reason in reasons},
        complete=complete,
    )
