"""What people note on versions: a line each, in one record of a control, since a manifest is never changed."""

from collections.abc import Iterable

from pydantic import Field

from shared.objectstore import ObjectStore
from shared.readable import readable
from shared.state import keys
from shared.state.records import Record, find, new_serial, update

LONGEST_NOTE = 500  # characters
_PATIENCE = 10.0  # seconds of losing to other writers


class Notes(Record):
    """`notes.json` of a control."""

    serial: str
    notes: dict[str, str] = Field(default_factory=dict)  # number of a version → its note


def read_notes(store: ObjectStore, uid: str, control: str) -> dict[int, str]:
    """Number of a version → its note. Raises StoreError."""
    found, _ = find(Notes, store, keys.notes(uid, control))
    return {int(number): note for number, note in found.notes.items() if number.isdecimal()} if found else {}


def write_note(store: ObjectStore, uid: str, control: str, version: int, text: str, *, known: Iterable[int]) -> str:
    """Note `text` on a version in place of what was noted; empty: remove it. Answers what is stored.

    `known`: the numbers of all versions there are: notes on others are dropped. Raises StoreError.
    """
    line = " ".join(readable(text).split())[:LONGEST_NOTE]
    kept = set(map(str, known))

    def change(found: Notes | None) -> Notes | None:
        before = found.notes if found else {}
        notes = {number: note for number, note in before.items() if number in kept and number != str(version)}
        notes |= {str(version): line} if line else {}
        return None if notes == before else Notes(serial=new_serial(), notes=notes)

    update(Notes, store, keys.notes(uid, control), change, patience=_PATIENCE)
    return line
