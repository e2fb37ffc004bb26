"""`labelloop notify`: which notices wait to be sent, and a test of the address that they go to."""

import secrets
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from functions.train_trigger.notices.message import test_body
from functions.train_trigger.notices.post import poster
from functions.train_trigger.status.project import Unreadable
from infra.cli.output import table_of
from shared.errors import SettingsError, StoreRefusal
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.notices import TEST, Notice
from shared.state.projects import projects


def send_test(settings: Settings) -> int:
    """Post one notice of the event `test`; answers the receiver's status. Raises NoticeError, SettingsError."""
    if settings.notify_url is None:
        raise SettingsError("LABELLOOP_NOTIFY_URL is not set: no notices are sent (docs/notices.md)")
    message = "labelloop: notices arrive here."
    notice = Notice(id=f"test-{secrets.token_hex(4)}", event=TEST, at=datetime.now(UTC), message=message)
    return poster(settings)(notice.id, test_body(notice))


def waiting(store: ObjectStore) -> tuple[list[tuple[str, Notice]], list[Unreadable]]:
    """Uid and notice of all that wait in the store; and the projects that cannot be read. Raises StoreError."""
    found, unreadable = [], []
    for uid in projects(store):
        try:
            found += [(uid, notice) for notice in Jobs(store, uid).read().notices]
        except StoreRefusal as error:
            unreadable.append(Unreadable(uid, str(error)))
    return found, unreadable


def waiting_as_json(found: list[tuple[str, Notice]]) -> list[dict[str, Any]]:
    """The notices that wait, for scripts."""
    return [{"project": uid} | notice.model_dump(mode="json") for uid, notice in found]


def render_waiting(found: list[tuple[str, Notice]], settings: Settings) -> RenderableType:
    """The notices that wait, for a terminal."""
    if not found:
        where = "" if settings.notify_url else "; LABELLOOP_NOTIFY_URL is not set here (docs/notices.md)"
        return Text(f"No notice waits{where}.")
    table = table_of("project", "since (UTC)", "event", "tries", "message", folded=["event", "message"])
    for uid, notice in found:
        since = f"{notice.at.astimezone(UTC):%Y-%m-%d %H:%M}"
        table.add_row(escape(uid), since, escape(notice.event), str(notice.tries), escape(notice.message))
    return table
