"""Whether and how a pointer moves: decided purely, from the pointer that was read and the move that is wanted."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.errors import ClaimLost, NotFound, PreconditionFailed
from shared.state.records import new_serial
from shared.state.versions import Pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The version that a pointer is to name, and in whose name."""

    control: str
    version: int
    fence: int
    run_id: str
    reason: Literal["promote", "rollback"]
    expected: int | None  # the version that it must name until then; None: there is no pointer yet

    def is_done(self, current: Pointer | None) -> bool:
        """Whether the pointer was moved so already; each rollback has a fence of its own."""
        if current is None or (current.run_id, current.version) != (self.run_id, self.version):
            return False
        return current.reason == self.reason and (self.reason == "promote" or current.fence == self.fence)


def moved(current: Pointer | None, move: Move, numbers: Iterable[int], now: datetime) -> Pointer:
    """The pointer to write. `numbers`: of all versions that are there.

    Raises ClaimLost if the pointer was moved under a greater fence, PreconditionFailed if it names another version than
    `expected`, NotFound if the version was withdrawn.
    """
    if current and current.fence > move.fence:
        raise ClaimLost(
            f"the pointer of {move.control!r} was moved under fence {current.fence}; fence {move.fence} is too old to "
            "move it"
        )
    if (current.version if current else None) != move.expected:
        raise PreconditionFailed(
            f"the pointer of {move.control!r} names v{current.version if current else 0}, v{move.expected or 0} was "
            "expected"
        )
    withdrawn = current.withdrawn if current else ()
    if move.version in withdrawn:
        raise NotFound(f"v{move.version} of {move.control!r} is being removed (LABELLOOP_KEEP_VERSIONS)")
    rolled_back = set(current.rolled_back) if current else set()
    if current and move.reason == "rollback":
        present = set(numbers)
        rolled_back.update(number for number in present if move.version < number <= current.version)
        rolled_back &= present
    return Pointer(
        serial=new_serial(),
        version=move.version,
        fence=move.fence,
        run_id=move.run_id,
        reason=move.reason,
        moved_at=now,
        withdrawn=withdrawn,
        rolled_back=tuple(sorted(rolled_back.difference(withdrawn, [move.version]))),
    )
