"""Log lines as JSON objects on standard output, one event each."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("nba_ml.serving")

_JSON = json.JSONEncoder(default=str).encode


class JsonLines(logging.Formatter):
    """`time`, `level`, `event` and the record's `fields`, a mapping."""

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
        return _JSON(content)


def say(level: int, event: str, **fields: Any) -> None:
    """Log an event with its fields."""
    if LOGGER.isEnabledFor(level):
        # Not `LOGGER.log`, which looks for its caller: a line does not name it, and a request would pay for it.
        record = logging.LogRecord(LOGGER.name, level, "", 0, event, (), None)
        record.fields = fields
        LOGGER.handle(record)


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
