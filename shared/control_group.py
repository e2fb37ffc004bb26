"""The control group: tasks that get no predictions, so that it can be measured what predictions do."""

import hashlib


def in_control_group(uid: str, task_id: int | None, share: float) -> bool:
    """Whether a task of a project is in the control group of `share` (0–1) of all tasks: always the same ones.

    A larger share adds tasks and takes none away. A task without an id, of a preview, is never in it.
    """
    if not share or task_id is None:
        return False
    digest = hashlib.sha256(f"{uid}/{task_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
