"""What a notice says: a sentence that Slack shows, and the same as fields for programs. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from shared.labelstudio.requests import project_id
from shared.state.jobs_record import PRELABEL
from shared.state.notices import BUDGET_SPENT, FAILED, PROMOTED, REJECTED, SUSPECTS, Notice
from shared.state.versions import Manifest

_LINE_ENDS = str.maketrans("\r\n\t", "   ")


def body(notice: Notice, uid: str, title: str, versions: Sequence[Manifest], label_studio_url: str | None) -> bytes:
    """The JSON body. `versions`: those that the run published, promoted or not."""
    number = project_id(uid)
    url = f"{label_studio_url}/projects/{number}" if label_studio_url else None
    name = _escaped(title or f"project {number}")
    about = f"<{url}|{name}>" if url else name
    fields: dict[str, Any] = {
        "text": f"{about}: {_said(notice)}{_escaped(notice.message)}",
        "id": notice.id,
        "event": notice.event,
        "at": notice.at.isoformat(),
        "message": notice.message,
        "project": {"uid": uid, "id": number, "title": title, "url": url},
        "run": {"id": notice.run_id, "kind": notice.kind} if notice.run_id else None,
        "versions": [
            {
                "control": one.control,
                "version": one.version,
                "passed": one.gate.passed,
                "metric": one.gate.metric,
                "value": one.gate.challenger,
                "champion": one.gate.champion,
            }
            for one in versions
        ],
    }
    if notice.event == SUSPECTS:
        fields["suspects"] = notice.count
    return json.dumps(fields, ensure_ascii=False).encode()


def test_body(notice: Notice) -> bytes:
    """The body of a notice that tries the address out."""
    fields = {"text": _escaped(notice.message), "id": notice.id, "event": notice.event, "at": notice.at.isoformat()}
    return json.dumps(fields | {"message": notice.message}, ensure_ascii=False).encode()


def _said(notice: Notice) -> str:
    """How the sentence begins."""
    failed = "writing predictions ahead failed" if notice.kind == PRELABEL else f"run {notice.run_id} failed"
    words = {
        PROMOTED: "a new version is served. ",
        REJECTED: "a training ended, and what is served stays. ",
        FAILED: f"{failed}; it is tried again after a pause. ",
        BUDGET_SPENT: "no job begins any more for now. ",
    }
    return words.get(notice.event, "")


def _escaped(text: str) -> str:
    """Slack reads `<!channel>` and `<https://…|text>` as commands: titles and labels are anybody's."""
    return text.translate(_LINE_ENDS).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
