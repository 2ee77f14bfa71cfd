"""What a process that the tests start has to be given, whoever started the tests; and how a script ends its own."""

from __future__ import annotations

import signal
import sys


def heed_signals() -> None:
    """For a new process: undo what a shell (its background) and nohup do to a test run, to ignore signals."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_DFL)


def end_with_what_was_started() -> None:
    """For a script that starts servers: SIGTERM ends it as an exception does, so that its `with` blocks stop them."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
