"""What predictions saved, as it was counted last: counting asks Label Studio for every annotation, so it is kept."""

from pydantic import AwareDatetime

from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.records import Record, find


class VersionEffort(Record):
    """What became of one version's predictions, in objects; see docs/effort.md."""

    control: str
    version: str  # "v3"; "" of annotations that were begun without a prediction
    images: int  # annotations
    kept: int
    moved: int
    relabelled: int
    deleted: int
    added: int
    smart: int = 0
    final: int  # annotated objects
    saved: float | None  # part of the work of drawing everything by hand; None: no object


class CountedEffort(Record):
    """What predictions saved in a project."""

    counted_at: AwareDatetime  # by the store's clock
    tasks: int  # annotated ones that were read
    saved: float | None  # over the whole project; None: no object
    versions: tuple[VersionEffort, ...] = ()

    def newest(self, control: str) -> VersionEffort | None:
        """Of the newest version that somebody annotated on; None if nobody has."""
        numbered = [one for one in self.versions if one.control == control and one.version.startswith("v")]
        known = [one for one in numbered if one.version[1:].isdigit() and one.saved is not None]
        return max(known, key=lambda one: int(one.version[1:]), default=None)


def read_effort(store: ObjectStore, uid: str) -> CountedEffort | None:
    """As it was counted last; None: never. Raises StoreError, and StoreRefusal for what is no such record."""
    return find(CountedEffort, store, keys.effort(uid))[0]


def write_effort(store: ObjectStore, uid: str, effort: CountedEffort) -> None:
    """Keep it; the last one that counted wins. Raises StoreError."""
    store.put(keys.effort(uid), effort.to_json())
