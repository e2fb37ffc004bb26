"""What became of a version, in a word and a sentence. Pure."""

from dataclasses import dataclass
from typing import Literal

from shared.state.versions import Manifest, Pointer

Word = Literal["promoted", "unproven", "rejected", "not promoted", "rolled back", "failed verification", "deleted"]
"""`unproven`: promoted, but it was compared with nothing, or the gate is less than 80 % sure that it is no worse.
`rejected`: by the gate. `not promoted`: the gate let it pass, and it was never served."""
SURE = 0.8
_TONES: dict[Word, Literal["good", "plain", "warning", "problem"]] = {
    "promoted": "good", "unproven": "plain", "failed verification": "problem",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a version."""

    word: Word
    why: str  # one sentence

    @property
    def tone(self) -> Literal["good", "plain", "warning", "problem"]:
        """How much it matters."""
        return _TONES.get(self.word, "warning")

    @property
    def promoted(self) -> bool:
        """A run made it the version that is served."""
        return self.word in ("promoted", "unproven", "rolled back", "failed verification")


def outcome_of(
    manifest: Manifest,
    pointer: Pointer | None,
    *,
    rejected: bool,
    following: Manifest | None,
    deleted: bool = False,
) -> Outcome:
    """What became of it. `rejected`: its file failed verification. `following`: the version after it; None: none is.

    That a version was promoted is recorded nowhere but in the pointer, which only names the newest. But the next run
    notes which version was served when it was compared: not this one, if this one lost its promotion.
    """
    gate, number = manifest.gate, manifest.version
    if deleted:
        return Outcome("deleted", f"somebody deleted it; the gate had said: {gate.reason}")
    if rejected:
        return Outcome("failed verification", "its file is bad: it cannot be served")
    if not gate.passed:
        return Outcome("rejected", gate.reason)
    if pointer and number in pointer.rolled_back:
        return Outcome("rolled back", f"somebody went back from it; the gate had said: {gate.reason}")
    if pointer is None or number > pointer.version:
        undone = pointer is not None and pointer.reason == "rollback" and pointer.fence > manifest.fence
        return Outcome("not promoted", _UNDONE if undone else _ENDED)
    if number != pointer.version and following and _was_passed_over(manifest, following):
        return Outcome("not promoted", _PASSED_OVER)
    if gate.worse is None or gate.worse > 1 - SURE:
        return Outcome("unproven", gate.reason)
    return Outcome("promoted", gate.reason)


_UNDONE = "somebody rolled back while it trained"
_ENDED = "its run has not served it yet, or ended before it could"
_PASSED_OVER = "somebody rolled back, or its run ended, before it could be served"


def _was_passed_over(manifest: Manifest, following: Manifest) -> bool:
    """Whether an older version was served when the next one was compared. One of another YOLO task says nothing."""
    same = manifest.yolo_task == following.yolo_task
    return same and (following.gate.champion_version or 0) < manifest.version
