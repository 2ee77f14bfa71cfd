"""What a process that the tests start has to be given, whoever started the tests."""

from __future__ import annotations

import signal


def heed_signals() -> None:
    """For a new process: undo what a shell (its background) and nohup do to a test run, to ignore signals."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_DFL)
