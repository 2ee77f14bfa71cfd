"""Log lines as JSON objects on standard output, one event each."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("nba_ml.serving")


class JsonLines(logging.Formatter):
    """`time`, `level`, `event` and the record's `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, default=str)


def say(level: int, event: str, **fields: Any) -> None:
    """Log an event with its fields."""
    LOGGER.log(level, event, extra={"fields": fields})


class LinesOut(logging.StreamHandler[TextIO]):
    """A stream of lines. A line that cannot be written is dropped, with one line on standard error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        with suppress(OSError, ValueError):  # standard error may be full or closed too
            sys.stderr.write(f"A line of the log ({record.getMessage()[:80]}) is lost: {sys.exc_info()[1]}\n")


def log_as_json(level: int = logging.INFO) -> None:
    """Let every logger of this process write JSON lines to standard output."""
    handler = LinesOut(sys.stdout)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
