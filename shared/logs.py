"""Logs as JSON lines with a named event: `{"time": …, "level": …, "event": "run_launched", …}`."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

_LIBRARIES = ("urllib3", "httpx", "httpcore", "boto3", "botocore", "s3transfer", "kubernetes")
"""Limited to WARNING: at INFO or DEBUG they log signed URLs, and headers with credentials."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One line a record. Each key of `extra` becomes a field; `event` defaults to the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, without a line break."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": getattr(record, "event", None) or record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD and key != "event"}
        if record.getMessage() != line["event"]:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Write the lines of all loggers as JSON to `stream` (None: standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
