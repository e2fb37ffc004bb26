"""Sends the notices that wait in the store, at the end of a sweep: a receiver that hangs holds up nothing."""

import logging
import threading

from functions.train_trigger.metrics import Metrics
from functions.train_trigger.notices.message import body
from functions.train_trigger.notices.post import Post
from functions.train_trigger.threads import Threads
from shared.errors import ClaimLost, NoticeError, StoreError
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import outbox
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.notices import KEPT, Notice
from shared.state.projects import read_title
from shared.state.registry import Registry
from shared.state.versions import Manifest

logger = logging.getLogger(__name__)

_SECONDS = 10.0
"""After which a sweep begins no further notice."""


class Sender:
    """Safe to call from many threads and processes: the one that wins a notice sends it."""

    def __init__(
        self, store: ObjectStore, settings: Settings, metrics: Metrics, threads: Threads, post: Post | None
    ) -> None:
        """`post`: None where LABELLOOP_NOTIFY_URL is not set; then nothing is sent, and notices end by themselves."""
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._threads = threads
        self._post = post
        self._lock = threading.Lock()
        self._waiting: set[str] = set()  # uids

    def note(self, uid: str, record: JobsRecord) -> None:
        """A sweep has read this record: `send` sends what is due of it."""
        if self._post is not None and record.notices:
            with self._lock:
                self._waiting.add(uid)

    def send(self) -> None:
        """Send what is due, oldest first. It ends at the first one that could not be sent: so would the others."""
        with self._lock:
            uids, self._waiting = sorted(self._waiting), set()
        end = self._threads.monotonic() + _SECONDS
        for uid in uids:
            try:
                if not self._send_of(Jobs(self._store, uid), end):
                    return
            except StoreError as error:  # the next sweep comes soon
                logger.warning(str(error), extra={"event": "notices_not_read", "project": uid})

    def _send_of(self, jobs: Jobs, end: float) -> bool:
        """Send the notices of one project; answers whether to go on with the next one."""
        now = self._store.now()
        for notice in jobs.read().notices:
            if self._threads.monotonic() >= end:
                return False
            if now - notice.at >= KEPT:
                self._drop(jobs, notice)
            elif notice.is_due(now) and not self._try(jobs, notice):
                return False
        return True

    def _try(self, jobs: Jobs, notice: Notice) -> bool:
        assert self._post is not None
        try:
            jobs.update(outbox.take, notice.id)
        except ClaimLost:  # another process has it
            return True
        told = {"project": jobs.uid, "notice": notice.id}
        title, versions = read_title(self._store, jobs.uid), self._versions(jobs.uid, notice)
        try:
            self._post(notice.id, body(notice, jobs.uid, title, versions, self._settings.label_studio_url))
        except NoticeError as error:
            self._metrics.notices.labels("failed").inc()
            logger.warning(f"a notice was not sent: {error}", extra={"event": "notice_not_sent", **told})
            return False
        self._metrics.notices.labels("sent").inc()
        logger.info("a notice was sent", extra={"event": "notice_sent", **told})
        jobs.update(outbox.drop, notice.id)
        return True

    def _drop(self, jobs: Jobs, notice: Notice) -> None:
        jobs.update(outbox.drop, notice.id)
        self._metrics.notices.labels("dropped").inc()
        logger.error(
            f"nobody took a notice in {KEPT.days} day; it is dropped: {notice.message}",
            extra={"event": "notice_dropped", "project": jobs.uid, "notice": notice.id, "tries": notice.tries},
        )

    def _versions(self, uid: str, notice: Notice) -> list[Manifest]:
        if not notice.run_id:
            return []
        registry = Registry(self._store, uid)
        found = (registry.published_by(control, notice.run_id) for control in registry.controls())
        return [manifest for manifest in found if manifest is not None]
